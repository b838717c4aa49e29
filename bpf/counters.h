/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is counted, read.go has the names. */
#ifndef BAILIFF_COUNTERS_H
#define BAILIFF_COUNTERS_H

/* Counters, per CPU, summed by user space. */
enum counter {
	COUNT_EXEC,
	COUNT_FORK,
	COUNT_OPEN,
	COUNT_EXIT,
	COUNT_DROP_EXEC, /* ring full */
	COUNT_DROP_FORK,
	COUNT_DROP_OPEN,
	COUNT_DROP_EXIT,
	COUNT_DENIED,
	COUNT_KILLED,
	COUNT_FAIL_OPEN_CONTEXT,   /* no task storage to be had */
	COUNT_FAIL_OPEN_UNDECIDED, /* deferred rule, act passed */
	COUNT_FAIL_CLOSED_PATH,	   /* path too deep: conditions counted as met */
	COUNT_FAIL_CLOSED_EXE,	   /* program of unknown class */
	COUNT_EXE_TABLE_FULL,
	COUNT_CACHE_HIT,
	COUNT_PATH_CUT,
	COUNT_FAIL_OPEN_TABLES, /* the active tables could not be read */
	COUNT_ANCESTORS_CUT,	/* a process has more ancestors than fit */
	COUNT_HELD_CHANGED,	/* a file was not what the gate had judged: its verdict is void */
	COUNT_HELD_GIVEN,  /* an exec was not given what the gate had judged: its verdict is void */
	COUNT_HELD_WAIVED, /* an exec whose verdict was known: no question was put */
	COUNT_HELD_UNWAIVED, /* an exec of a file of which questions were waived, and no verdict was known */
	COUNT_FAIL_CLOSED_WAIVED, /* an exec about which nobody was asked, of a file of which questions were waived */
	COUNT_HELD_LATE, /* the waiver was not taken back in time: no question was put */
	COUNT_HELD_NONE, /* no verdict of the gate for an exec that it should have held */
	COUNT_MMAP,	 /* and the hooks after it */
	COUNT_CREATE,
	COUNT_LINK,
	COUNT_RENAME,
	COUNT_UNLINK,
	COUNT_TRUNCATE,
	COUNT_PTRACE,
	COUNT_RECEIVE,
	COUNT_DROP_MMAP,
	COUNT_DROP_CREATE,
	COUNT_DROP_LINK,
	COUNT_DROP_RENAME,
	COUNT_DROP_UNLINK,
	COUNT_DROP_TRUNCATE,
	COUNT_DROP_PTRACE,
	COUNT_DROP_RECEIVE,
	COUNT_FAIL_CLOSED_TEXT, /* arguments or environment not seen whole: tests counted as met */
	COUNT_DIGEST_COMPUTED,	/* by IMA */
	COUNT_DIGEST_KNOWN,	/* the file is what it was when its digest was computed */
	COUNT_DIGEST_UNKNOWN,	/* an exec for which some rule may need it, but has none */
	COUNT_VECTOR_LOST,	/* of a subject, by a newer one in its place: made anew */
	COUNT_VERITY_KNOWN, /* an exec of whose file the fs-verity digest is known, or that it has none */
	COUNT_MAX,
};

#endif
