# shellcheck shell=bash
# A Slurm cluster on one machine, all of whose hosts are called localhost: munge, slurmctld, and a slurmd for each node n1 ... n6,
# in the folder that the caller is in. Partitions: low is preempted by requeue, cancel by PreemptMode=CANCEL, high preempts
# both. Needs root, and no privilege beyond. Sourced.
cluster_nodes=6
declare -A slurmd=() # the process of each node
slurmctld=
export SLURM_CONF=$PWD/slurm.conf

cluster_configure() {
    local i
    cat >slurm.conf <<CONF
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=17000
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
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
SlurmdTimeout=10
KillWait=10
SchedulerParameters=sched_interval=1,bf_interval=1
PartitionName=low Nodes=ALL Default=YES PriorityTier=1
PartitionName=cancel Nodes=ALL PriorityTier=1 PreemptMode=CANCEL
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
CONF
    for ((i = 1; i <= cluster_nodes; i++)); do
        echo "NodeName=n$i NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((17000 + i)) CPUs=64 RealMemory=1000"
    done >>slurm.conf
    echo CgroupAutomount=no >cgroup.conf
}

node_start() { # NODE
    mkdir -p "spool.$1" "tmp.$1"
    slurmd -D -N "$1" >>"$1.out" 2>&1 &
    slurmd[$1]=$!
}

cluster_start() {
    local i
    cluster_configure
    chmod 755 .
    mkdir -p state /run/munge && chown munge: /run/munge
    munge -n >/dev/null 2>&1 || { runuser -u munge -- munged; sleep 0.5; } # it stays
    slurmctld -D >slurmctld.out 2>&1 &
    slurmctld=$!
    for ((i = 1; i <= cluster_nodes; i++)); do node_start "n$i"; done
    for ((i = 0; i < 200; i++)); do
        [ "$(sinfo -h -N -p low -o %T 2>/dev/null | grep -c idle)" -ne $cluster_nodes ] || return 0
        sleep 0.1
    done
    return 1
}

cluster_stop() {
    local jobs
    jobs=$(squeue -h -o %i | sort -u)
    # shellcheck disable=SC2086 # several
    [ -z "$jobs" ] || { scancel --signal=KILL $jobs; sleep 1; }
    kill -KILL "$slurmctld" "${slurmd[@]}"
    wait
} 2>/dev/null

# A word of what is missing here.
cluster_missing() {
    local word
    [ "$(id -u)" -eq 0 ] || { echo "root"; return; }
    for word in munged slurmctld slurmd srun sbatch; do
        command -v $word >/dev/null || { echo "$word"; return; }
    done
}
