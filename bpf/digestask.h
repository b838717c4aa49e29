/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is a digest needed? To read a file takes milliseconds, to judge it does not:
 * an exec is judged once before, as if every condition on its digest were met. If
 * no clause is left then, nobody needs it.
 */
#ifndef BAILIFF_DIGESTASK_H
#define BAILIFF_DIGESTASK_H

/* A clause that comes to hold in between finds no digest: exec_check then says
 * what becomes of the act. */
static __always_inline int digest_ask(struct linux_binprm *bprm)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct object_ref o = {};
	struct digest_room *room;
	struct inode *inode;
	__u32 generation;
	struct dentry *d;
	struct slot *s = NULL;
	struct answer a;
	struct proc *p;
	bool test;

	if (!(settings.digests & (1 << DIGEST_SHA256 | DIGESTS_TRIED)))
		return 0;
	p = current_proc(t);
	d = bprm->file->f_path.dentry;
	inode = bprm->file->f_inode;
	test = digest_tried(t, inode);
	if (!digest_concerns(p, test))
		return 0;
	room = digest_room_for(bprm);
	if (!room)
		return 0;
	room->test = test;
	if (settings.digests & 1 << DIGEST_VERITY && !room->measured)
		verity_measure(bprm->file, room); /* this program came first */
	room->state = DIGEST_ASKING;
	if (p && !test) {
		o.dentry = (__u64)d;
		o.inode = (__u64)inode;
		o.hook = HOOK_EXEC;
		o.rate = cgroup_rate(p->cgroup, HOOK_EXEC - 1);
		generation = ask(&a, p, &o, t, d, inode, HOOK_EXEC - 1, &s);
		if (generation && p->gen[HOOK_EXEC - 1] == generation && !o.late &&
		    a.first == NO_CLAUSE && a.held == NO_CLAUSE && a.maybe == NO_CLAUSE) {
			room->state = DIGEST_IDLE;
			return 0;
		}
	}
	room->state = DIGEST_WANTED;
	return 0;
}

#endif
