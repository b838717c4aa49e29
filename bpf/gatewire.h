/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What passes between the kernel and the agent about execs that wait at the gate.
 * Included by wire.h.
 */
#ifndef BAILIFF_GATEWIRE_H
#define BAILIFF_GATEWIRE_H

/* What a file's content was when it was judged. */
struct validity {
	__u64 ctime; /* nanoseconds */
	__u64 size;
	__u64 version; /* i_version; 0 where the filesystem has none */
};

/* A verdict that the gate took while the exec was held. */
struct held_verdict {
	__u32 verdict;
	__u32 texts; /* KEY_GIVEN: what was read of the caller */
	struct validity of;
	__u64 sum;    /* of these, see given.h */
	__u64 origin; /* of what they were made of */
};

/* A verdict of the gate that is good for one exec: it read what no key holds. */
struct ticket_key {
	__u64 exec_id; /* of the image that calls exec */
	__u32 generation;
	__u32 pad;
	struct file_id file;
};

/* The examine program: facts of a file that the caller has open, and of the
 * thread that is about to execute it. */
#define EXAMINED 64 /* callers at a time */
struct examine_of {
	__u32 fd;
	__u32 slot;
	__u32 pidfd; /* of its process */
	__u32 tid;
};

struct examined {
	struct wire_file file;
	struct validity of;
	struct wire_subject who; /* what is not in its context; tid 0: nothing is known */
	__u32 stdio;		 /* bits of event.Stdio */
	__u32 pad;
	__u64 age;	       /* seconds */
	char path[PATH_BYTES]; /* as after a record: components, last first */
};

#endif
