/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Vectors of subjects. One is half a kilobyte, and many a process needs one once, if
 * at all: they are in one table for all processes, and who makes one takes the place
 * of one that was made long ago. A process knows its vectors by references; whoever
 * has lost his makes it anew. In the context of each process they were 1.5 kB, which
 * the kernel's allocator for such sizes has three of: it called for more, by an
 * interrupt, at each third fork (docs/design/0010-vectors-of-subjects.md).
 */
#ifndef BAILIFF_VECTORS_H
#define BAILIFF_VECTORS_H

#define VECTORS 4096

#define VEC_NONE  1 /* reference: no clause is left, there is no vector */
#define VEC_ALL	  2 /* there is none to be had: every condition on the subject counts as met */
#define VEC_BUSY  (~0ULL) /* owner: it is being made */
#define VEC_TRIES 16

struct subject_vec {
	__u64 owner; /* the reference by which it is known; 0: nobody's */
	__u64 cred;  /* for whose credentials it was made, as a number: only what comes out
			of a map is one to the verifier */
	struct vec vec;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VECTORS);
	__type(key, __u32);
	__type(value, struct subject_vec);
} subject_vecs SEC(".maps");

static volatile __u64 last_vec;

static __always_inline struct subject_vec *vec_at(__u64 ref)
{
	__u32 at = ref & (VECTORS - 1);

	return bpf_map_lookup_elem(&subject_vecs, &at);
}

static __always_inline __u64 owner_of(struct subject_vec *v)
{
	return *(volatile __u64 *)&v->owner;
}

/* Is what the reference was made for still there? */
static __always_inline bool is_vec(__u64 ref)
{
	struct subject_vec *v = vec_at(ref);

	return v && owner_of(v) == ref;
}

/* A place for a vector, which the caller fills and then owns by *ref: old, if it has
 * that still, or one that nobody else fills. That is compared and swapped: a writer
 * that is preempted must not come back to a place that is another's by then. NULL if
 * all places that are tried are being filled. */
static __always_inline struct subject_vec *take_vec(__u64 old, __u64 *ref)
{
	struct subject_vec *v = vec_at(old);
	__u64 n = __sync_fetch_and_add(&last_vec, 1) + 1, had;

	if (v && old >= VECTORS && __sync_val_compare_and_swap(&v->owner, old, VEC_BUSY) == old) {
		*ref = n * VECTORS | (old & (VECTORS - 1));
		return v;
	}
	for (int i = 0; i < VEC_TRIES; i++) {
		v = vec_at(n);
		if (!v)
			break;
		had = owner_of(v);
		if (had != VEC_BUSY &&
		    __sync_val_compare_and_swap(&v->owner, had, VEC_BUSY) == had) {
			*ref = n * VECTORS | (n & (VECTORS - 1));
			return v;
		}
		n = __sync_fetch_and_add(&last_vec, 1) + 1;
	}
	return NULL;
}

/* The vector is what it shall be, or nobody's (0). */
static __always_inline void give_vec(struct subject_vec *v, __u64 ref)
{
	__sync_lock_test_and_set(&v->owner, ref);
}

#endif
