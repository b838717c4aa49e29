/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The last answer to an open of each process, see struct kept.
 */
#ifndef BAILIFF_KEPT_H
#define BAILIFF_KEPT_H

static __always_inline __u64 kept_check(__u64 place, __u64 clauses, __u64 ref)
{
	__u64 secret = settings.secret | 1;

	return ((place * secret + clauses) * secret + ref) * secret;
}

static __always_inline bool kept_answer(const volatile struct kept *k, __u64 place, __u64 ref,
					struct answer *a)
{
	__u64 clauses = k->clauses;

	if (k->place != place || k->check != kept_check(place, clauses, ref))
		return false;
	a->first = clauses >> 32;
	a->maybe = clauses;
	return true;
}

static __always_inline void keep_answer(volatile struct kept *k, __u64 place, __u64 ref,
					const struct answer *a)
{
	__u64 clauses = (__u64)a->first << 32 | a->maybe;

	k->place = place;
	k->clauses = clauses;
	k->check = kept_check(place, clauses, ref);
}

#endif
