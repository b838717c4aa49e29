/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A verdict on its way from where it is taken to where it is told.
 */
#ifndef BAILIFF_JUDGEMENT_H
#define BAILIFF_JUDGEMENT_H

/* A verdict on one act, and what follows from it. It begins like a record after its
 * time: that is copied in two words. */
struct judgement {
	__u8 hook; /* of the record */
	__u8 verdict;
	__u8 effect; /* what was done */
	__u8 source;
	__u8 mode;
	__u8 mode_by;
	__u16 flags; /* RECORD_* */
	__u32 generation;
	__u32 clause;
	__u32 bindings;
	__u8 blocks; /* deny, and the mode and the rule say that it is acted upon */
	__u8 kills;
	__u8 pad[2];
} __attribute__((aligned(8)));
#define DECISION_BYTES __builtin_offsetof(struct judgement, bindings)
_Static_assert(DECISION_BYTES == __builtin_offsetof(struct record, subject) -
					 __builtin_offsetof(struct record, hook) &&
		       __builtin_offsetof(struct judgement, clause) ==
			       __builtin_offsetof(struct record, clause) -
				       __builtin_offsetof(struct record, hook),
	       "a judgement begins like a record after its time");

/* Digests of a file, those that are known: bits (1 << enum digest_kind). */
struct digest {
	__u32 known;
	__u8 sum[32];
	struct verity verity;
};

/* A verdict taken before an exec, to be told when the exec has succeeded. */
struct pending {
	struct judgement j;
	__u32 valid;
	__u32 script_exe; /* exe id of a script that was judged before its interpreter
                     */
	__u32 last_exe;	  /* exe id of the file judged last */
	__u32 judged_exe; /* exe id of the file that the verdict is about */
	__u32 rate;	  /* of object_ref, when it was judged */
	__u32 age;
	__u32 euid, egid; /* of the caller, whose credentials are what is judged */
	__u64 caps;
	struct wire_file file;	/* its facts when it was judged */
	__u32 bindings;		/* of all its rounds, though nobody needs to hear of them */
	__u32 renames;		/* renames_now before last_exe was found */
	__u32 class, class_gen; /* of its path, in this generation; 0: not looked up */
	/* Digests of the file judged last, and of the one that the verdict is about. */
	struct digest last_digest, digest;
};

#endif
