// The program's version, as --version prints and checkpoints record it.
#ifndef CORE_BASE_VERSION_H
#define CORE_BASE_VERSION_H

#define LIGHTHOUSE_VERSION "0.1.0"

#endif
