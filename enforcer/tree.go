package enforcer

import (
	"slices"
	"sync"
	"time"

	"example.com/bailiff/internal/event"
)

// deadFor is how long a process image is remembered after its end: events of
// other processors may still name it.
const deadFor = 30 * time.Second

// tree is the process images that are known, by exec id: a fork begins one, an
// exec ends it and begins another in the same process. Ids are never reused,
// so a late event cannot hit a stranger, as it could by pid.
type tree struct {
	mu    sync.Mutex
	max   int
	nodes map[event.ExecID]*node
	born  []event.ExecID // in the order of arrival; some are gone from nodes
	ended []ending       // in the order of their end
	free  []*node        // of images that were forgotten, to be used again
}

type node struct {
	p     event.Process
	alive bool
}

type ending struct {
	id event.ExecID
	at time.Time
}

func newTree(limit int) *tree {
	return &tree{max: limit, nodes: map[event.ExecID]*node{}}
}

// see completes the event's process from what is known, then learns from the
// event. Events must come in their own order.
func (t *tree) see(ev *event.Event, now time.Time) {
	p := &ev.Process
	if p.ExecID == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	n := t.learn(p)
	complete(p, &n.p)

	switch ev.Hook {
	case event.HookFork:
		if ev.Fork != nil && ev.Fork.ExecID != 0 && ev.Decision.Effect != event.EffectRefused {
			c := child(p, ev.Fork)
			t.put(ev.Fork.ExecID, &c)
		}
	case event.HookExec:
		if ev.Exec != nil && ev.Exec.ExecID != 0 && ev.Decision.Effect != event.EffectRefused {
			n := image(p, ev)
			t.put(ev.Exec.ExecID, &n)
			t.end(p.ExecID, now)
		}
	case event.HookExit:
		t.end(p.ExecID, now)
	}
}

// learn returns the node of an image, made from this event if it is new, and
// brought up to date in what changes during its life.
func (t *tree) learn(p *event.Process) *node {
	n, ok := t.nodes[p.ExecID]
	if !ok {
		return t.put(p.ExecID, p)
	}
	n.p.UID, n.p.EUID, n.p.GID, n.p.EGID = p.UID, p.EUID, p.GID, p.EGID
	n.p.LoginUID, n.p.CapEff, n.p.Comm = p.LoginUID, p.CapEff, p.Comm
	return n
}

// complete fills what the kernel did not give, and the node what it did not
// know: records differ in what they carry.
func complete(p, known *event.Process) {
	fill(&p.ParentID, &known.ParentID)
	fill(&p.PPID, &known.PPID)
	fill(&p.Start, &known.Start)
	fill(&p.CgroupID, &known.CgroupID)
	fillFile(&p.Exe, &known.Exe)
	fillFile(&p.Parent, &known.Parent)
	if p.CgroupID == known.CgroupID {
		fill(&p.Cgroup, &known.Cgroup)
	} else {
		known.CgroupID, known.Cgroup = p.CgroupID, p.Cgroup
	}
	if len(p.Ancestry) == 0 {
		p.Ancestry, p.AncestorNames = known.Ancestry, known.AncestorNames
		fill(&p.Shell, &known.Shell)
	} else {
		known.Ancestry, known.AncestorNames, known.Shell = p.Ancestry, p.AncestorNames, p.Shell
	}
}

// fill copies the one that is set to the one that is not.
func fill[T comparable](a, b *T) {
	var zero T
	if *a == zero {
		*a = *b
	} else if *b == zero {
		*b = *a
	}
}

func fillFile(a, b *event.File) {
	if a.Path == "" {
		*a = *b
	} else if b.Path == "" {
		*b = *a
	}
}

// child is the process that a fork made: its parent is the image that forked.
func child(p *event.Process, f *event.Fork) event.Process {
	c := *p
	c.ExecID, c.ParentID = f.ExecID, p.ExecID
	c.PID, c.TID, c.PPID, c.Start = f.PID, f.PID, p.PID, 0
	c.Parent = event.File{ID: p.Exe.ID, Path: p.Exe.Path, Names: p.Exe.Names}
	c.Ancestry, c.AncestorNames = above(p)
	return c
}

// image is what an exec made of a process: another program, the same parent.
// The program that it was counts as an ancestor, as it does in the kernel.
func image(p *event.Process, ev *event.Event) event.Process {
	n := *p
	n.ExecID, n.TID, n.Comm = ev.Exec.ExecID, p.PID, ev.Exec.Comm
	n.Ancestry, n.AncestorNames = above(p)
	if ev.File != nil {
		n.Exe = *ev.File
	}
	return n
}

// above returns the ancestors of what a process forks or becomes: its program comes
// first.
func above(p *event.Process) (paths []string, names [][]string) {
	if p.Exe.Path == "" {
		return p.Ancestry, p.AncestorNames
	}
	exe := p.Exe.Names
	if len(exe) == 0 {
		exe = []string{p.Exe.Path}
	}
	rest := slices.DeleteFunc(slices.Clone(p.Ancestry), func(a string) bool { return slices.Contains(exe, a) })
	if len(exe) == 1 && p.AncestorNames == nil {
		return append(slices.Clone(exe), rest...), nil
	}
	others := p.AncestorNames
	if others == nil {
		for _, a := range p.Ancestry {
			others = append(others, []string{a})
		}
	}
	others = slices.DeleteFunc(slices.Clone(others), func(o []string) bool { return slices.Equal(o, exe) })
	return append(slices.Clone(exe), rest...), append([][]string{exe}, others...)
}

func (t *tree) put(id event.ExecID, p *event.Process) *node {
	if n, ok := t.nodes[id]; ok {
		// The image's own event came before the fork that made it.
		complete(&n.p, p)
		return n
	}
	var n *node
	if k := len(t.free); k > 0 {
		n, t.free = t.free[k-1], t.free[:k-1]
	} else {
		n = &node{}
	}
	n.p, n.alive = *p, true
	t.nodes[id] = n
	t.born = append(t.born, id)
	return n
}

func (t *tree) end(id event.ExecID, now time.Time) {
	if n, ok := t.nodes[id]; ok && n.alive {
		n.alive = false
		t.ended = append(t.ended, ending{id, now})
	}
}

// forget drops images that ended long ago; over the bound also the last ended
// and, if all are alive, the oldest: its events then carry only what the
// kernel gives.
func (t *tree) forget(now time.Time) {
	for len(t.ended) > 0 && (now.Sub(t.ended[0].at) > deadFor || len(t.nodes) > t.max-2) {
		t.drop(t.ended[0].id)
		t.ended = t.ended[1:]
	}
	for len(t.nodes) > t.max-2 && len(t.born) > 0 {
		t.drop(t.born[0])
		t.born = t.born[1:]
	}
	if len(t.born) > 2*t.max {
		t.born = slices.DeleteFunc(t.born, func(id event.ExecID) bool { return t.nodes[id] == nil })
	}
}

func (t *tree) drop(id event.ExecID) {
	if n, ok := t.nodes[id]; ok {
		delete(t.nodes, id)
		if len(t.free) < 1024 {
			t.free = append(t.free, n)
		}
	}
}

func (t *tree) get(id event.ExecID) (event.Process, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.nodes[id]
	if !ok {
		return event.Process{}, false
	}
	return n.p, true
}

func (t *tree) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.nodes)
}

// Process returns what is known of a process image that lives or ended lately.
func (e *Enforcer) Process(id event.ExecID) (event.Process, bool) { return e.tree.get(id) }
