/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Questions at the gate that need not be put. fanotify asks about each exec of a
 * file, unless the agent has waived that: which is a statement about an inode, while
 * an answer is about a key. So whoever opens a waived file for execution is looked up
 * here first, just before fanotify would be asked. If there is no answer for its key
 * the agent takes the waiver back, which this program, which may sleep, waits for:
 * then the question is put. Where it was waived between this look and fanotify's the
 * exec hook finds no answer for a file that was waived since, and refuses.
 */
#ifndef BAILIFF_WAIVE_H
#define BAILIFF_WAIVE_H

/* File -> epoch in which it was waived. User space; what is of an older one is not
 * waived any more. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct file_id);
	__type(value, __u32);
} waived SEC(".maps");

/* The epoch, 0 while nothing is waived. User space steps it when it has taken all
 * waivers back. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} waive_epoch SEC(".maps");

/* Files about which questions must be put again. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} unwaive SEC(".maps");

/* Was the file waived since this thread looked whether a question is due, so that nobody
 * was asked? Not whether it is now: it may have been taken back again. */
__noinline int is_waived(const struct object_ref *o)
{
	struct key_room *room;
	struct inode *inode;
	struct file_id id;
	__u32 *was;

	if (!o || !o->inode || o->hook != HOOK_EXEC)
		return 0; /* only execs are asked about */
	inode = (void *)o->inode;
	id.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	id.gen = BPF_CORE_READ(inode, i_generation);
	id.ino = BPF_CORE_READ(inode, i_ino);
	was = bpf_map_lookup_elem(&waived, &id);
	room = key_room();
	return was && (!room || (__s32)(*was - room->looked) >= 0);
}

/* f_flags of an open for execution: __FMODE_EXEC. */
#define OPENED_FOR_EXEC 0x20

/* How long the agent may take (ns). Then no question is put, and the exec hook
 * refuses. */
#define WAIVE_PATIENCE 250000000ULL

struct waive_walk {
	__u32 *now;
	__u32 epoch;
	__u32 late;
	__u64 until;
	__u64 at;
};

/* One look whether the agent is done. Reading a byte of one's own memory as if it were
 * somebody else's lets others run, which nothing else does that a program may call. */
static long waive_step(__u64 i, struct waive_walk *w)
{
	struct task_struct *t = bpf_get_current_task_btf();
	char c;

	if (*(volatile __u32 *)w->now != w->epoch)
		return 1;
	if (bpf_ktime_get_ns() > w->until) {
		w->late = 1;
		return 1;
	}
	bpf_copy_from_user_task(&c, 1, (void *)w->at, t, 0);
	return 0;
}

/* Is there an answer for this exec, of the file as it is now? */
static __always_inline bool answered(const struct proc *p, struct file *f)
{
	struct object_ref o = {};
	__u32 generation = settings.generation, index;
	struct slot *s = slot_of(generation, &index);
	struct held_verdict *h;
	struct key_room *room;

	if (!s)
		return false;
	o.hook = HOOK_EXEC;
	o.dentry = (__u64)f->f_path.dentry;
	o.inode = (__u64)f->f_inode;
	if (!make_key(p, &o, generation, HOOK_EXEC, s->hook[HOOK_EXEC - 1].held_key))
		return false;
	room = key_room();
	h = room ? bpf_map_lookup_elem(&held, &room->key) : NULL;
	return h && as_judged(h, f->f_inode);
}

/* The process of the running thread in a program that may sleep, if it has a context: from
 * 6.2 on a thread's leader can only be followed while it cannot go away. */
static __always_inline struct proc *proc_of_sleeper(struct task_struct *t)
{
	struct task_struct *leader;
	struct proc *p = NULL;

	if (bpf_rcu_read_lock) {
		bpf_rcu_read_lock();
		leader = t->group_leader;
		if (leader)
			p = bpf_task_storage_get(&procs, leader, 0, 0);
		bpf_rcu_read_unlock();
	} else {
		leader = t->group_leader;
		if (leader)
			p = bpf_task_storage_get(&procs, leader, 0, 0);
	}
	return p && p->exec_id ? p : NULL;
}

/* clang-format off */
SEC("lsm.s/file_open")
int BPF_PROG(lsm_waive, struct file *file, int ret)
/* clang-format on */
{
	struct waive_walk w = {.late = unknown_zero};
	struct task_struct *t;
	__u32 zero = 0, *was;
	struct key_room *room;
	struct file_id id;
	struct proc *p;

	if (!(file->f_flags & OPENED_FOR_EXEC))
		return 0;
	w.now = bpf_map_lookup_elem(&waive_epoch, &zero);
	if (!w.now)
		return 0;
	w.epoch = *(volatile __u32 *)w.now;
	room = key_room();
	if (room)
		room->looked = w.epoch; /* first: what is waived from here on counts */
	id_of(&id, file->f_inode);
	was = w.epoch ? bpf_map_lookup_elem(&waived, &id) : NULL;
	if (!was || *was != w.epoch)
		return 0;
	t = bpf_get_current_task_btf();
	p = proc_of_sleeper(t);
	if (p && (!(p->flags & PROC_SCOPE) || p->flags & PROC_RESCUE))
		return 0; /* no rule may touch it */
	if (p && answered(p, file)) {
		count(COUNT_HELD_WAIVED);
		return 0;
	}
	count(COUNT_HELD_UNWAIVED);
	bpf_ringbuf_output(&unwaive, &id, sizeof(id), BPF_RB_FORCE_WAKEUP);
	w.until = bpf_ktime_get_ns() + WAIVE_PATIENCE;
	w.at = t->mm ? t->mm->arg_start : 0;
	bpf_loop(1 << 22, waive_step, &w, 0);
	if (w.late)
		count(COUNT_HELD_LATE);
	else if (room)
		room->looked = *(volatile __u32 *)w.now;
	return 0;
}

#endif
