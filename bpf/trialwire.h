/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BAILIFF_TRIALWIRE_H
#define BAILIFF_TRIALWIRE_H

/* A decision without a hook, for tests; the program takes TRIALS at once and
 * stops at one without a generation. */
#define TRIALS 256
struct trial {
	__u32 generation;
	__u32 hook;
	__u32 exe_path; /* classes */
	__u32 exe_name;
	__u32 parent_path;
	__u32 parent_name;
	__u32 file_path;
	__u32 file_name;
	__u64 num[64]; /* by field number; NUM_FIELDS at most */
	__u64 args;    /* the caller's memory: arguments, each ended by NUL, */
	__u64 env;     /* and environment */
	__u32 args_len;
	__u32 env_len;
	__u32 argc;
	__u32 first; /* out: first certain clause, or NO_CLAUSE */
	__u32 maybe; /* out: first uncertain clause, or NO_CLAUSE */
	__u32 late;  /* out: the same of ROW_COMMIT */
	__u32 late_maybe;
	__u32 done; /* out: 1 when there was an answer */
};
#define NO_CLAUSE 0xffffffffu

#endif
