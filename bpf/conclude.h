/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What follows from an answer of the tables: the verdicts that user space gave, the
 * declared default, the mode.
 */
#ifndef BAILIFF_CONCLUDE_H
#define BAILIFF_CONCLUDE_H

/* What follows from a rule that audits or alerts: nothing is blocked. */
static __always_inline void only_tell(struct judgement *j, const struct hook_conf *hc, __u32 first)
{
	j->source = SOURCE_TABLE;
	j->clause = first;
	j->verdict = first < hc->alert_from ? VERDICT_DENY : VERDICT_ALERT;
	j->mode_by = j->verdict == VERDICT_DENY ? BY_RULE : BY_ALL;
	j->mode = j->mode_by == BY_ALL && settings.mode;
}

#define OPEN   1
#define CLOSED 2

/* The gate has no answer, or none that counts: what the rule wants then. */
__noinline int unanswered(const struct object_ref *o, __u32 deny, __u32 verdict)
{
	count(COUNT_HELD_NONE);
	if (deny)
		return CLOSED;
	if (verdict == VERDICT_NONE && is_waived(o)) {
		/* Nobody was asked. Closed, whatever the rule says. */
		count(COUNT_FAIL_CLOSED_WAIVED);
		return CLOSED;
	}
	return OPEN;
}

/* What follows from an answer. Returns 0 when nobody needs to hear of it. */
__noinline int conclude(struct judgement *j, const struct proc *p, const struct object_ref *o,
			const struct answer *a, __u32 hook)
{
	__u32 h = hook - 1, v, index, first, held, maybe, enforced = 0, open = 0;
	const struct hook_conf *hc;
	struct vec *kill;
	struct slot *s;
	bool blind;
	void *map;

	if (!j || !p || !o || !a || h >= NUM_ROWS)
		return 0;
	first = a->first;
	held = a->held;
	maybe = a->maybe;
	s = slot_of(j->generation, &index);
	if (!s || (first == NO_CLAUSE && held == NO_CLAUSE && maybe == NO_CLAUSE))
		return 0;
	hc = &s->hook[row_of(h, NUM_ROWS)];
	/* Without a digest: whoever allowed the act knew nothing of the file's content. */
	blind = hc->uses_digest && o->hook == HOOK_EXEC && o->blind;
	if (blind)
		count(COUNT_DIGEST_UNKNOWN);
	j->source = SOURCE_TABLE;
	j->flags = RECORD_MATCHED;
	j->clause = first;
	if (first < hc->audit_from) {
		j->verdict = VERDICT_DENY;
		enforced = first < hc->enforce_to;
		goto block;
	}
	if (held != NO_CLAUSE) {
		/* The gate has judged this before it let the exec begin. */
		v = of_gate(p, o, j->generation, o->hook, hc->held_key);
		if (v == VERDICT_ALLOW && hc->held_key & KEY_GIVEN)
			note_given(j->generation, held);
		enforced = !!(v & VERDICT_ENFORCED);
		v &= ~VERDICT_ENFORCED;
		if (v == VERDICT_NONE || (blind && v == VERDICT_ALLOW))
			open = unanswered(o, held < hc->held_deny_to, v);
		if (v == VERDICT_DENY || open == CLOSED) {
			if (open) {
				j->flags |= RECORD_UNDECIDED;
				enforced = held < hc->held_enforce_to;
			}
			j->source = open ? SOURCE_DEFAULT : SOURCE_GATE;
			j->clause = held;
			j->verdict = VERDICT_DENY;
			goto block;
		}
	}
	if (maybe != NO_CLAUSE) {
		v = remembered(p, o, j->generation, o->hook, hc->key);
		if (v == VERDICT_NONE || (blind && v == VERDICT_ALLOW)) {
			/* Fail open unless the rule says otherwise; counted, told. */
			j->flags |= RECORD_UNDECIDED;
			j->source = SOURCE_DEFAULT;
			j->clause = maybe;
			j->verdict = maybe < hc->maybe_allow_from ? VERDICT_DENY : VERDICT_ALLOW;
			if (!(hc->key & KEY_NONE) && !blind)
				j->flags |= RECORD_CACHEABLE;
			enforced = maybe < hc->maybe_enforce_to;
			if (j->verdict == VERDICT_DENY)
				goto block;
			if (maybe < hc->maybe_alert_from)
				count(COUNT_FAIL_OPEN_UNDECIDED);
			/* The rule is not known yet; the mode for the others is told. */
			v = mode_here(0);
			j->mode = v;
			j->mode_by = v >> 8;
			return 1;
		}
		count(COUNT_CACHE_HIT);
		enforced = !!(v & VERDICT_ENFORCED);
		v &= ~VERDICT_ENFORCED;
		if (v == VERDICT_DENY || (first == NO_CLAUSE && !open)) {
			j->verdict = v;
			j->source = SOURCE_CACHE;
			j->clause = maybe;
			if (v == VERDICT_DENY)
				goto block;
			return v == VERDICT_ALERT;
		}
	}
	if (open) {
		/* What the rule wants when the gate had no answer in time. */
		j->flags |= RECORD_UNDECIDED;
		j->source = SOURCE_DEFAULT;
		j->clause = held;
		j->verdict = VERDICT_ALLOW;
		count(COUNT_FAIL_OPEN_UNDECIDED);
		v = mode_here(0); /* for the others, as above */
		j->mode = v;
		j->mode_by = v >> 8;
		return 1;
	}
	if (first == NO_CLAUSE) {
		/* The gate let it pass, and no other rule holds. */
		j->flags = 0;
		j->source = SOURCE_GATE;
		j->verdict = VERDICT_ALLOW;
		return 1;
	}
	only_tell(j, hc, first);
	return 1;
block:
	v = mode_here(enforced);
	j->mode = v;
	j->mode_by = v >> 8;
	if (!j->mode)
		return 1;
	j->blocks = 1;
	map = bpf_map_lookup_elem(&vecs, &index);
	v = hc->kill_vec;
	kill = map ? bpf_map_lookup_elem(map, &v) : NULL;
	if (kill && j->clause < MAX_CLAUSES)
		j->kills = kill->w[(j->clause / 64) & (VEC_WORDS - 1)] >> (j->clause & 63) & 1;
	return 1;
}

#endif
