/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fs-verity digest of what is executed. Nothing is read for it: the kernel
 * keeps it with the inode from the open on, and the content of such a file cannot
 * be changed. But only some kernels tell it, so it is a program of its own, in
 * front of exec_check, that leaves it in the task's room.
 */
#ifndef BAILIFF_VERITY_H
#define BAILIFF_VERITY_H

/* Anything but a digest of an algorithm that rules can name, or that there is none,
 * is not known. */
static __always_inline void verity_measure(struct file *file, struct digest_room *room)
{
	struct bpf_dynptr to;
	int err;

	room->measured = 0;
	if (!bpf_get_fsverity_digest ||
	    bpf_dynptr_from_mem(&room->verity, sizeof(room->verity), 0, &to))
		return;
	err = bpf_get_fsverity_digest(file, &to);
	if (err == -ENODATA)
		room->verity.of = 0;
	else if (err || (room->verity.of != VERITY_SHA256 && room->verity.of != VERITY_SHA512))
		return;
	room->measured = 1;
}

/* Leaves the digest of the file in the room of a task that rules may concern. */
static __always_inline int verity_note(struct linux_binprm *bprm)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct digest_room *room;
	struct proc *p;
	bool test;

	if (!(settings.digests & 1 << DIGEST_VERITY))
		return 0;
	p = current_proc(t);
	test = digest_tried(t, bprm->file->f_inode);
	if (!digest_concerns(p, test))
		return 0;
	room = digest_room_for(bprm);
	if (!room)
		return 0;
	room->test = test;
	verity_measure(bprm->file, room);
	return 0;
}

#endif
