# shellcheck shell=bash
# A Slurm cluster on one machine, all of whose hosts are called localhost: munge, slurmctld, and a slurmd for each node n1 ... n9,
# in the folder that the caller is in. Partitions: low is preempted by requeue, cancel by PreemptMode=CANCEL, high preempts
# both. Needs root, and no privilege beyond. Sourced.
cluster_nodes=9
declare -A slurmd=() # the process of each node
slurmctld=
export SLURM_CONF=$PWD/slurm.conf

# Sets `cluster_port`, the first of as many free ones as it needs, below those that the system gives out.
cluster_ports() {
    local tries i taken
    for ((tries = 0; tries < 100; tries++)); do
        cluster_port=$((17000 + ($$ + tries * 37) % 900 * 16)) taken=''
        for ((i = 0; i <= cluster_nodes; i++)); do
            ! (exec 3<>"/dev/tcp/127.0.0.1/$((cluster_port + i))") 2>/dev/null || taken=1
        done
        [ -n "$taken" ] || return 0
    done
    return 1
}

# Slurm leaves the machine's cgroups alone: of 23.11 and later it takes one word for that, and refuses the one from before.
cgroup_words() {
    local version
    version=$(slurmd -V | grep -o '[0-9]*\.[0-9]*' | head -n 1)
    if [ "$(printf '%s\n' 23.11 "$version" | sort -V | head -n 1)" = 23.11 ]; then
        echo CgroupPlugin=disabled
    else
        echo CgroupAutomount=no
    fi
}

# Times are such that a busy machine is not taken for one that is lost.
cluster_configure() {
    local i
    cat >slurm.conf <<CONF
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$cluster_port
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=20
StateSaveLocation=$PWD/state
SlurmctldPidFile=$PWD/slurmctld.pid
SlurmdSpoolDir=$PWD/spool.%n
SlurmdPidFile=$PWD/slurmd.%n.pid
TmpFS=$PWD/tmp.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=30
KillWait=60
MessageTimeout=60
SchedulerParameters=sched_interval=1,bf_interval=1
PartitionName=low Nodes=ALL Default=YES PriorityTier=1
PartitionName=cancel Nodes=ALL PriorityTier=1 PreemptMode=CANCEL
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
CONF
    for ((i = 1; i <= cluster_nodes; i++)); do
        echo "NodeName=n$i NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((cluster_port + i)) CPUs=64 RealMemory=1000"
    done >>slurm.conf
    cgroup_words >cgroup.conf
}

node_start() { # NODE
    mkdir -p "spool.$1" "tmp.$1"
    slurmd -D -N "$1" >>"$1.out" 2>&1 &
    slurmd[$1]=$!
    disown # bash would tell that it was killed
}

nodes_idle() { [ "$(sinfo -h -N -p low -o %T 2>/dev/null | grep -c idle)" -eq $cluster_nodes ]; }
cluster_start() {
    local i
    cluster_ports && cluster_configure || return 1
    chmod 755 .
    mkdir -p state /run/munge && chown munge: /run/munge
    munge -n >/dev/null 2>&1 || runuser -u munge -- munged # it stays
    await munge -n >/dev/null 2>&1
    slurmctld -D >slurmctld.out 2>&1 &
    slurmctld=$!
    disown
    for ((i = 1; i <= cluster_nodes; i++)); do node_start "n$i"; done
    await nodes_idle
}

daemons_gone() { ! kill -0 "$slurmctld" "${slurmd[@]}"; }
cluster_stop() {
    local jobs
    jobs=$(squeue -h -o %i | sort -u)
    # shellcheck disable=SC2086 # several
    [ -z "$jobs" ] || { scancel --signal=KILL $jobs; sleep 1; }
    kill -KILL "$slurmctld" "${slurmd[@]}"
    await daemons_gone
} 2>/dev/null

# A word of what is missing here.
cluster_missing() {
    local word
    [ "$(id -u)" -eq 0 ] || { echo "root"; return; }
    for word in munged slurmctld slurmd srun sbatch; do
        command -v $word >/dev/null || { echo "$word"; return; }
    done
}
