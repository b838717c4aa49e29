/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BAILIFF_TEXTWIRE_H
#define BAILIFF_TEXTWIRE_H

/*
 * Tests of arguments and environment: one automaton finds the answers to all of
 * them. A state says which tests are met when it is reached (now), and which if
 * the text ends there (end). State 0 is left by nothing: no test can be met.
 */
#define TEXT_CLASSES 128 /* kinds of bytes that tests tell apart */
#define TEXT_AT	     16 /* arguments that are told apart by index; the last stands for all others */
#define TEXT_VARS    32 /* variables that tests can name */
#define TEXT_CHUNK   4096
#define TEXT_CHUNKS  32 /* so much of arguments, and of environment, is looked at */
/* Bits besides those of tests: there is more than was looked at. */
#define TEXT_ARGS_CUT (1ULL << 63)
#define TEXT_ENV_CUT  (1ULL << 62)

struct text_state {
	__u64 now;
	__u64 end;
	__u32 var; /* the name of this variable, less 1, has been read, and "=" */
	__u32 pad;
	__u16 next[TEXT_CLASSES];
};

struct text_var {
	__u64 mask;  /* tests of it */
	__u32 state; /* in which its value begins */
	__u32 pad;
};

struct text_conf {
	__u64 at[TEXT_AT]; /* tests of the argument at this index */
	__u32 arg_state;   /* in which an argument begins; 0: no test of text */
	__u32 env_state;   /* in which a variable begins; 0: none is tested */
	struct text_var var[TEXT_VARS];
	__u8 class[256]; /* of a byte */
};

#endif
