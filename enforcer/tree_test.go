package enforcer

import (
	"slices"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

// life feeds events to a tree, one second after another.
type life struct {
	*tree
	now time.Time
}

func newLife(limit int) *life { return &life{newTree(limit), time.Unix(0, 0)} }

func (l *life) fork(parent, child event.ExecID, pid int32) *event.Event {
	return l.feed(&event.Event{Hook: event.HookFork, Process: event.Process{ExecID: parent},
		Fork: &event.Fork{PID: pid, ExecID: child}})
}

func (l *life) execTID(from, to event.ExecID, tid int32, path string) *event.Event {
	return l.feed(&event.Event{Hook: event.HookExec, Process: event.Process{ExecID: from, PID: 100, TID: tid},
		File: &event.File{Path: path}, Exec: &event.Exec{ExecID: to, Comm: "x"}})
}

func (l *life) exit(id event.ExecID) *event.Event {
	return l.feed(&event.Event{Hook: event.HookExit, Process: event.Process{ExecID: id}, Exit: &event.Exit{}})
}

func (l *life) feed(ev *event.Event) *event.Event {
	l.now = l.now.Add(time.Second)
	l.see(ev, l.now)
	return ev
}

// init forks a shell, the shell a worker, a thread of the worker execs, and
// the worker forks: parents and ancestors are right all the way.
func TestTreeThroughForkAndExec(t *testing.T) {
	l := newLife(100)
	l.feed(&event.Event{Hook: event.HookOpen, Process: event.Process{ExecID: 1, PID: 1, Exe: event.File{Path: "/sbin/init"}}})
	l.fork(1, 2, 100)
	l.execTID(2, 3, 100, "/bin/sh")
	l.fork(3, 4, 100)
	ev := l.execTID(4, 5, 177, "/usr/bin/worker")
	if p := ev.Process; p.Exe.Path != "/bin/sh" || p.Parent.Path != "/bin/sh" || p.ParentID != 3 {
		t.Errorf("who execs: %+v", p)
	}
	fork := l.fork(5, 6, 101)
	if p := fork.Process; p.Exe.Path != "/usr/bin/worker" || p.Parent.Path != "/bin/sh" || p.PID != 0 && p.TID == 177 {
		t.Errorf("who forks: %+v", p)
	}
	p, ok := l.get(6)
	if !ok || p.Exe.Path != "/usr/bin/worker" || p.Parent.Path != "/usr/bin/worker" || p.ParentID != 5 || p.PID != 101 {
		t.Errorf("child: %+v", p)
	}
	if want := []string{"/usr/bin/worker", "/bin/sh", "/sbin/init"}; !slices.Equal(p.Ancestry, want) {
		t.Errorf("ancestors %v, want %v", p.Ancestry, want)
	}
	if img, _ := l.get(5); img.TID != 100 || img.PID != 100 {
		t.Errorf("after the exec of a thread pid %d tid %d: it takes the place of the leader", img.PID, img.TID)
	}
}

// A program that runs again comes to the front, and one of several names has all of
// them in the list, as the kernel side tells it.
func TestTreeAncestorsAgain(t *testing.T) {
	sh := event.File{Path: "/usr/bin/dash", Names: []string{"/usr/bin/dash", "/bin/sh"}}
	p := event.Process{Exe: event.File{Path: "/sbin/init"}}
	for _, x := range []struct {
		exe   event.File
		paths []string
		names [][]string
	}{
		{event.File{Path: "/a"}, []string{"/sbin/init"}, nil},
		{sh, []string{"/a", "/sbin/init"}, nil},
		{event.File{Path: "/a"}, []string{"/usr/bin/dash", "/bin/sh", "/a", "/sbin/init"}, [][]string{{"/usr/bin/dash", "/bin/sh"}, {"/a"}, {"/sbin/init"}}},
		{sh, []string{"/a", "/usr/bin/dash", "/bin/sh", "/sbin/init"}, [][]string{{"/a"}, {"/usr/bin/dash", "/bin/sh"}, {"/sbin/init"}}},
	} {
		p.Ancestry, p.AncestorNames = above(&p)
		p.Exe = x.exe
		if !slices.Equal(p.Ancestry, x.paths) || !slices.EqualFunc(p.AncestorNames, x.names, slices.Equal[[]string]) {
			t.Errorf("above %s: %v %v", x.exe.Path, p.Ancestry, p.AncestorNames)
		}
	}
}

// A refused act changes nothing.
func TestTreeRefused(t *testing.T) {
	l := newLife(100)
	refused := event.Decision{Effect: event.EffectRefused}
	l.feed(&event.Event{Hook: event.HookFork, Process: event.Process{ExecID: 1}, Fork: &event.Fork{ExecID: 2}, Decision: refused})
	l.feed(&event.Event{Hook: event.HookExec, Process: event.Process{ExecID: 1}, File: &event.File{Path: "/bad"},
		Exec: &event.Exec{ExecID: 3}, Decision: refused})
	if l.size() != 1 || !l.nodes[1].alive {
		t.Errorf("%d images", l.size())
	}
}

// An event may come after the end of its image, or before the fork that made it.
func TestTreeLateAndEarly(t *testing.T) {
	l := newLife(100)
	l.feed(&event.Event{Hook: event.HookOpen, Process: event.Process{ExecID: 1, Exe: event.File{Path: "/bin/a"}, Cgroup: "/x", CgroupID: 7}})
	l.exit(1)
	late := l.feed(&event.Event{Hook: event.HookOpen, Process: event.Process{ExecID: 1, CgroupID: 7}})
	if late.Process.Exe.Path != "/bin/a" || late.Process.Cgroup != "/x" {
		t.Errorf("late event: %+v", late.Process)
	}
	l.feed(&event.Event{Hook: event.HookOpen, Process: event.Process{ExecID: 9}})
	l.feed(&event.Event{Hook: event.HookFork, Process: event.Process{ExecID: 8, PID: 80, Exe: event.File{Path: "/bin/b"}},
		Fork: &event.Fork{PID: 90, ExecID: 9}})
	if p, _ := l.get(9); p.ParentID != 8 || p.Exe.Path != "/bin/b" {
		t.Errorf("early image: %+v", p)
	}
	l.now = l.now.Add(deadFor)
	l.feed(&event.Event{Hook: event.HookOpen, Process: event.Process{ExecID: 10}})
	if _, ok := l.get(1); ok {
		t.Error("an image is kept for ever")
	}
}

// What the kernel gives is never replaced by what was known.
func TestTreeKernelWins(t *testing.T) {
	l := newLife(100)
	l.feed(&event.Event{Hook: event.HookOpen, Process: event.Process{ExecID: 1, UID: 0, CgroupID: 1, Cgroup: "/a", Exe: event.File{Path: "/bin/a"}}})
	ev := l.feed(&event.Event{Hook: event.HookOpen, Process: event.Process{ExecID: 1, UID: 1000, CgroupID: 2, Exe: event.File{Path: "/bin/a2"}}})
	if p := ev.Process; p.UID != 1000 || p.Exe.Path != "/bin/a2" || p.Cgroup != "" {
		t.Errorf("event: %+v", p)
	}
	if p, _ := l.get(1); p.UID != 1000 || p.CgroupID != 2 || p.Cgroup != "" {
		t.Errorf("known: %+v", p)
	}
}

func TestTreeBound(t *testing.T) {
	l := newLife(50)
	for id := event.ExecID(1); id < 1000; id++ {
		l.fork(1, id+1, int32(id))
		if id%3 == 0 {
			l.exit(id + 1)
		}
		if l.size() > 50 {
			t.Fatalf("%d images", l.size())
		}
	}
	if len(l.born) > 200 || len(l.ended) > 400 {
		t.Errorf("%d born and %d ended are kept", len(l.born), len(l.ended))
	}
}
