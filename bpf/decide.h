/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The decision: for each dimension a set of clauses that its value satisfies,
 * all of them ANDed. The cost depends on the number of fields that rules read,
 * not on the number of rules. decide never emits.
 *
 * Functions without "static" are verified once, by themselves: that keeps the
 * verifier's work the sum of the parts instead of their product.
 */
#ifndef BAILIFF_DECIDE_H
#define BAILIFF_DECIDE_H

struct answer {
	__u32 first; /* first certain clause, or NO_CLAUSE */
	__u32 held;  /* first uncertain clause that the gate answers, or NO_CLAUSE */
	__u32 maybe; /* first other uncertain clause, or NO_CLAUSE */
};

/* Index of the lowest bit of w != 0, without branches: they multiply verifier
 * states. */
static __always_inline __u32 lowest_bit(__u64 w)
{
	__u32 n = __builtin_popcountll((w & -w) - 1);

	/* The verifier must see the bound that the compiler knows of. */
	asm volatile("" : "+r"(n));
	return n & 63;
}

/* The vector of a number in one dimension: binary search of its interval. */
__noinline __u32 number_vec(const struct dim *d, __u64 v, __u32 index)
{
	void *map = bpf_map_lookup_elem(&bounds, &index);
	__u32 lo = 0, hi, at;
	struct bound *b;

	if (!map || !d)
		return VEC_ONES;
	hi = d->count;
	v &= d->mask;
	for (int i = 0; i < 13; i++) {
		if (hi - lo <= 1)
			break;
		at = d->base + (lo + hi) / 2;
		b = bpf_map_lookup_elem(map, &at);
		if (!b)
			return VEC_ONES;
		if (b->from <= v)
			lo = (lo + hi) / 2;
		else
			hi = (lo + hi) / 2;
	}
	at = d->base + lo;
	b = bpf_map_lookup_elem(map, &at);
	return b ? b->vec : VEC_ONES;
}

__noinline int and_id(struct vec *acc, __u32 index, __u32 id)
{
	void *map = bpf_map_lookup_elem(&vecs, &index);
	__u64 sum, left = 0;
	struct vec *v;

	if (id == VEC_ONES || !map || !acc)
		return 0;
	v = bpf_map_lookup_elem(map, &id);
	if (!v)
		return 0;
	sum = acc->sum & v->sum;
	for (int n = 0; n < VEC_WORDS; n++) {
		__u32 i;

		if (!sum)
			break;
		i = lowest_bit(sum);
		sum &= sum - 1;
		acc->w[i] &= v->w[i];
		if (acc->w[i])
			left |= 1ULL << i;
	}
	acc->sum = left;
	return 0;
}

/* The four path dimensions of a subject: exe path, exe name, parent path,
 * parent name. */
struct subject_classes {
	__u32 class[4];
};

/* Vector of a subject for one hook, before its numbers: all clauses, ANDed with
 * what the program and its parent's program satisfy. */
__noinline int subject_paths(struct vec *out, const struct subject_classes *sc, __u32 index,
			     __u32 h)
{
	void *classes_map = bpf_map_lookup_elem(&classes, &index);
	void *vecs_map = bpf_map_lookup_elem(&vecs, &index);
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	const struct class *c;
	struct vec *all;
	__u32 id;

	if (!classes_map || !vecs_map || !s || h >= NUM_JUDGED || !out || !sc)
		return -1;
	if (!s->hook[h].clauses) {
		out->sum = 0;
		return 0;
	}
	id = s->hook[h].all_vec;
	all = bpf_map_lookup_elem(vecs_map, &id);
	if (!all)
		return -1;
	bpf_probe_read_kernel(out, sizeof(*out), all);
	for (int i = 0; i < 4; i++) {
		__u32 class = sc->class[i];

		c = bpf_map_lookup_elem(classes_map, &class);
		if (c)
			and_id(out, index, i < 2 ? c->exe[h] : c->parent[h]);
	}
	return 0;
}

/* What a decision reads of an object: classes of its path and name, numbers. */
struct object_vecs {
	__u32 id[2 + MAX_OBJECT_DIMS];
};

/* ANDs subject and object and finds the first clauses of both kinds. */
__noinline int match(struct answer *a, const struct vec *subject, const struct object_vecs *ov,
		     __u32 index, __u32 h)
{
	const struct vec *v[2 + MAX_OBJECT_DIMS], *ones;
	__u32 zero = VEC_ONES, maybe_from, held_to, dims;
	struct slot *s;
	void *map;
	__u64 sum;

	if (!a || !subject || !ov || h >= NUM_JUDGED)
		return -1;
	a->first = a->held = a->maybe = NO_CLAUSE;
	s = bpf_map_lookup_elem(&slots, &index);
	map = bpf_map_lookup_elem(&vecs, &index);
	if (!s || !map)
		return -1;
	ones = bpf_map_lookup_elem(map, &zero);
	if (!ones)
		return -1;
	maybe_from = s->hook[h].maybe_from;
	held_to = s->hook[h].held_to;
	dims = s->hook[h].object_dims;
	sum = subject->sum;
#pragma unroll
	for (int k = 0; k < 2 + MAX_OBJECT_DIMS; k++) {
		__u32 id = ov->id[k];

		v[k] = ones;
		if (k >= 2 && k - 2 >= dims)
			continue;
		if (id == VEC_ONES)
			continue;
		v[k] = bpf_map_lookup_elem(map, &id);
		if (!v[k])
			return -1;
		sum &= v[k]->sum;
	}
	for (int n = 0; n < VEC_WORDS; n++) {
		__u32 i, base;
		__u64 w;

		if (!sum)
			break;
		i = lowest_bit(sum);
		sum &= sum - 1;
		w = subject->w[i];
#pragma unroll
		for (int k = 0; k < 2 + MAX_OBJECT_DIMS; k++)
			w &= v[k]->w[i];
		if (!w)
			continue;
		base = i * 64;
		if (a->first == NO_CLAUSE && base + lowest_bit(w) < maybe_from)
			a->first = base + lowest_bit(w);
		/* The last certain clauses and the first uncertain ones may share a word.
     */
		if (maybe_from >= base + 64)
			continue;
		if (maybe_from > base)
			w = w >> ((maybe_from - base) & 63) << ((maybe_from - base) & 63);
		if (w && base + lowest_bit(w) < held_to) {
			if (a->held == NO_CLAUSE)
				a->held = base + lowest_bit(w);
			if (held_to >= base + 64)
				continue;
			w = w >> ((held_to - base) & 63) << ((held_to - base) & 63);
		}
		if (w) {
			a->maybe = base + lowest_bit(w);
			break;
		}
	}
	return 0;
}

#endif
