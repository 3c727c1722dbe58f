// Standard output and error of a program that must not wait for who reads them: a pager that is stopped, a
// full pipe, a launcher that hangs, a terminal after Ctrl-S.
//
// What is printed goes into a queue, and a thread of its own writes it. When the queue is full, messages are
// left out, and their number is told where they would have stood. Neither descriptor is changed: other
// processes may share it.
#ifndef CORE_BASE_CONSOLE_H
#define CORE_BASE_CONSOLE_H

#include <stdbool.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

// Whether a stream that nobody reads any more ends the program, quietly, as it does a command whose output is
// all that it is for (`eval | head`). Else, as where files are written, its output is lost and nothing more.
void console_ends_with_reader(bool ends);

// From here on stdout and stderr go through queues. Where no thread can be had they stay as they are.
void console_open(void);

// Waits until all is written, for as long as somebody reads, and 2 s at most where nobody does. It is called
// at the end of the process too, by exit().
void console_settle(void);

// Whether a line of progress to a descriptor waits for nobody: not where a pipe is full.
bool console_has_room(int file);

// Whether a stream leads to a terminal, through a queue or not.
bool console_is_terminal(FILE *stream);

#ifdef __cplusplus
}
#endif
#endif
