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

/* The vector of a number in one dimension: binary search of its interval. For a
 * digest that has been looked up already, and is the number. */
__noinline __u32 number_vec(const struct dim *d, __u64 v, __u32 index)
{
	void *map = bpf_map_lookup_elem(&bounds, &index);
	__u32 lo = 0, hi, at;
	struct bound *b;

	if (!map || !d)
		return VEC_ONES;
	hi = d->count;
	if (d->field == FIELD_FILE_SHA256 || d->field == FIELD_FILE_VERITY)
		return v;
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

/*
 * Loops over words are callbacks of bpf_loop: the verifier looks at a callback
 * once or twice, at a loop in line as often as it may turn, in every program. It
 * costs next to nothing, because such a loop is expanded in place.
 */
struct and_walk {
	struct vec *acc;
	const struct vec *v;
	__u64 sum;  /* words that are still to be looked at */
	__u64 left; /* words that are not zero afterwards */
};

static long and_word(__u64 n, struct and_walk *w)
{
	__u32 i;

	if (!w->sum)
		return 1;
	i = lowest_bit(w->sum);
	w->sum &= w->sum - 1;
	w->acc->w[i] &= w->v->w[i];
	if (w->acc->w[i])
		w->left |= 1ULL << i;
	return 0;
}

static long copy_word(__u64 n, struct and_walk *w)
{
	__u32 i;

	if (!w->sum)
		return 1;
	i = lowest_bit(w->sum);
	w->sum &= w->sum - 1;
	w->acc->w[i] = w->v->w[i];
	return 0;
}

/* Only words that are not zero: the others nobody reads. */
__noinline int copy_vec(struct vec *out, __u32 index, __u32 id)
{
	void *map = bpf_map_lookup_elem(&vecs, &index);
	struct and_walk w = {.acc = out};

	if (!out || !map)
		return -1;
	w.v = bpf_map_lookup_elem(map, &id);
	if (!w.v)
		return -1;
	out->sum = w.sum = w.v->sum;
	bpf_loop(VEC_WORDS, copy_word, &w, 0);
	return 0;
}

__noinline int and_id(struct vec *acc, __u32 index, __u32 id)
{
	void *map = bpf_map_lookup_elem(&vecs, &index);
	struct and_walk w = {.acc = acc};

	if (id == VEC_ONES || !map || !acc)
		return 0;
	w.v = bpf_map_lookup_elem(map, &id);
	if (!w.v)
		return 0;
	w.sum = acc->sum & w.v->sum;
	bpf_loop(VEC_WORDS, and_word, &w, 0);
	acc->sum = w.left;
	return 0;
}

/* The four path dimensions of a subject: exe path, exe name, parent path,
 * parent name. */
struct subject_classes {
	__u32 class[4];
};

/* The index of a hook, below most. A caller has compared it, but the verifier of
 * 6.1 forgets that where the compiler keeps the number on the stack. */
static __always_inline __u64 row_of(__u32 h, __u64 most)
{
	__u64 row = h;

	asm volatile("" : "+r"(row));
	if (row >= most)
		row = 0;
	asm volatile("" : "+r"(row));
	return row;
}

/* Vector of a subject for one hook, before its numbers: all clauses, ANDed with
 * what the program and its parent's program satisfy. */
__noinline int subject_paths(struct vec *out, const struct subject_classes *sc, __u32 index,
			     __u32 h)
{
	void *classes_map = bpf_map_lookup_elem(&classes, &index);
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	const struct hook_conf *hc;
	const struct class *c;

	if (!classes_map || !s || h >= NUM_JUDGED || !out || !sc)
		return -1;
	hc = &s->hook[row_of(h, NUM_JUDGED)];
	if (!hc->clauses) {
		out->sum = 0;
		return 0;
	}
	if (copy_vec(out, index, hc->all_vec))
		return -1;
	for (int i = 0; i < 4; i++) {
		__u32 class = sc->class[i];
		__u64 row;

		c = bpf_map_lookup_elem(classes_map, &class);
		if (!c)
			continue;
		row = row_of(h, NUM_JUDGED);
		and_id(out, index, i < 2 ? c->exe[row] : c->parent[row]);
	}
	return 0;
}

/* The dimension of the nearest shell, by its class. */
__noinline int and_shell(struct vec *out, __u32 class, __u32 index, __u32 h)
{
	void *map = bpf_map_lookup_elem(&classes, &index);
	struct class *c = map ? bpf_map_lookup_elem(map, &class) : NULL;

	if (c && out && h < NUM_JUDGED)
		and_id(out, index, c->shell[row_of(h, NUM_JUDGED)]);
	return 0;
}

struct match_walk {
	struct answer *a; /* outside of the stack: what is in it the verifier may not know */
	const struct vec *subject;
	const struct vec *v[2 + MAX_OBJECT_DIMS];
	__u64 sum; /* words that are still to be looked at */
	__u32 maybe_from;
	__u32 held_to;
};

static long match_word(__u64 n, struct match_walk *m)
{
	__u32 i, base, maybe_from = m->maybe_from, held_to = m->held_to;
	struct answer *a = m->a;
	__u64 w;

	if (!m->sum)
		return 1;
	i = lowest_bit(m->sum);
	m->sum &= m->sum - 1;
	w = m->subject->w[i];
#pragma unroll
	for (int k = 0; k < 2 + MAX_OBJECT_DIMS; k++)
		w &= m->v[k]->w[i];
	if (!w)
		return 0;
	base = i * 64;
	if (a->first == NO_CLAUSE && base + lowest_bit(w) < maybe_from)
		a->first = base + lowest_bit(w);
	/* The last certain clauses and the first uncertain ones may share a word. */
	if (maybe_from >= base + 64)
		return 0;
	if (maybe_from > base)
		w = w >> ((maybe_from - base) & 63) << ((maybe_from - base) & 63);
	if (w && base + lowest_bit(w) < held_to) {
		if (a->held == NO_CLAUSE)
			a->held = base + lowest_bit(w);
		if (held_to >= base + 64)
			return 0;
		w = w >> ((held_to - base) & 63) << ((held_to - base) & 63);
	}
	if (!w)
		return 0;
	a->maybe = base + lowest_bit(w);
	return 1;
}

/* Before the vectors of an object are known: all of them are ones. */
static __always_inline int match_begin(struct match_walk *m, const struct slot *s, void *map,
				       __u32 h)
{
	const struct hook_conf *hc = &s->hook[row_of(h, NUM_JUDGED)];
	const struct vec *ones;
	__u32 zero = VEC_ONES;

	ones = bpf_map_lookup_elem(map, &zero);
	if (!ones)
		return -1;
	m->maybe_from = hc->maybe_from;
	m->held_to = hc->held_to;
	m->sum = m->subject->sum;
#pragma unroll
	for (int k = 0; k < 2 + MAX_OBJECT_DIMS; k++)
		m->v[k] = ones;
	return 0;
}

static long late_word(__u64 n, struct match_walk *m)
{
	__u32 i;
	__u64 w;

	if (!m->sum)
		return 1;
	i = lowest_bit(m->sum);
	w = m->subject->w[i];
#pragma unroll
	for (int k = 0; k < 2 + MAX_OBJECT_DIMS; k++)
		w &= m->v[k]->w[i];
	if (w)
		return 1;
	m->sum &= m->sum - 1;
	return 0;
}

/* Words that wait for the texts of an exec are not looked at by match. Is anything
 * left in them? */
static __always_inline bool match_waits(struct match_walk *m, const struct slot *s)
{
	__u64 late = m->sum & s->commit_words;

	m->sum &= ~s->commit_words;
	return late;
}

/* The same, and is any bit left in them? */
static __always_inline bool match_late(struct match_walk *m, const struct slot *s)
{
	__u64 rest = m->sum & ~s->commit_words;
	bool late = false;

	m->sum &= s->commit_words;
	if (m->sum) {
		bpf_loop(VEC_WORDS, late_word, m, 0);
		late = m->sum;
	}
	m->sum = rest;
	return late;
}

/* Dimension k, 0 and 1 being those of the path and of the name, has this vector. */
static __always_inline int match_dim(struct match_walk *m, void *map, int k, __u32 id)
{
	const struct vec *v;

	if (id == VEC_ONES)
		return 0;
	v = bpf_map_lookup_elem(map, &id);
	if (!v)
		return -1;
	m->v[k] = v;
	m->sum &= v->sum;
	return 0;
}

/* The same for what a class of paths or of names means. */
static __always_inline int match_class(struct match_walk *m, void *map, int k, void *classes_map,
				       __u32 class, __u32 h)
{
	const struct class *c = bpf_map_lookup_elem(classes_map, &class);

	return c ? match_dim(m, map, k, c->file[row_of(h, NUM_JUDGED)]) : 0;
}

/* Finds the first clauses of all kinds in what is left. */
static __always_inline void match(struct match_walk *m)
{
	bpf_loop(VEC_WORDS, match_word, m, 0);
}

#endif
