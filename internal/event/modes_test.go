package event

import (
	"fmt"
	"testing"
)

func TestModesPrecedence(t *testing.T) {
	m := Modes{
		Rules:   map[string]Mode{"loud": ModeAudit, "sure": ModeEnforce},
		Cgroups: map[string]Mode{"/a.slice": ModeEnforce, "/a.slice/db.service": ModeAudit},
	}
	for _, c := range []struct {
		rule   string
		audit  bool
		cgroup string
		mode   Mode
		by     ModeBy
	}{
		{"other", false, "/b", ModeAudit, ByAll},
		{"sure", false, "/b", ModeEnforce, ByRule},
		{"sure", true, "/b", ModeEnforce, ByRule}, // the operator goes before the author
		{"loud", false, "/a.slice/x", ModeAudit, ByRule},
		{"other", true, "/a.slice/x", ModeAudit, ByRule},
		{"other", false, "/a.slice", ModeEnforce, ByCgroup},
		{"other", false, "/a.slice/web.service/worker", ModeEnforce, ByCgroup},
		{"other", false, "/a.slice/db.service/worker", ModeAudit, ByCgroup},
		{"sure", false, "/a.slice/db.service", ModeAudit, ByCgroup},
		{"sure", false, "/a.slice/web.service", ModeEnforce, ByRule},
		{"other", false, "/a.slicer", ModeAudit, ByAll},
		{"other", false, "/", ModeAudit, ByAll},
	} {
		if mode, by := m.Here(c.rule, c.audit, c.cgroup); mode != c.mode || by != c.by {
			t.Errorf("%s (audit %v) in %s: %s by %q, want %s by %q", c.rule, c.audit, c.cgroup, mode, by, c.mode, c.by)
		}
	}
	if mode, by := (Modes{All: ModeEnforce}).Here("x", false, "/b"); mode != ModeEnforce || by != ByAll {
		t.Errorf("enforce for all: %s by %q", mode, by)
	}
}

func TestUnitOf(t *testing.T) {
	for cgroup, want := range map[string]string{
		"": "", "/": "/", "/a": "/a", "/a/b": "/a/b",
		"/system.slice/x.service/w/1":                     "/system.slice/x.service",
		"/user.slice/user-0.slice/session-4.scope":        "/user.slice/user-0.slice",
		"/user.slice/user-9.slice/user@9.service/a.scope": "/user.slice/user-9.slice",
	} {
		if got := UnitOf(cgroup); got != want {
			t.Errorf("UnitOf(%q) = %q, want %q", cgroup, got, want)
		}
	}
}

func TestShare(t *testing.T) {
	const n = 20000
	in := map[uint32]int{}
	for i := range n {
		path := fmt.Sprintf("/system.slice/app-%d.service", i)
		place := PlaceInShare(path)
		if place != PlaceInShare(path+"/worker/7") || place >= ShareAll {
			t.Fatalf("%s stands at %d, what is below it elsewhere", path, place)
		}
		for _, share := range []uint32{ShareAll / 100, ShareAll / 10, ShareAll / 2} {
			m := Modes{All: ModeEnforce, Share: share}
			mode, by := m.Here("x", false, path)
			if by != ByShare || (mode == ModeEnforce) != (place < share) {
				t.Fatalf("%s at %d with share %d: %s by %s", path, place, share, mode, by)
			}
			if mode == ModeEnforce {
				in[share]++
			}
		}
	}
	for share, got := range in {
		want := n * float64(share) / ShareAll
		if float64(got) < want*0.8 || float64(got) > want*1.2 {
			t.Errorf("share %d of %d took %d of %d cgroups", share, ShareAll, got, n)
		}
	}
	for share, want := range map[uint32]string{0: "100%", ShareAll: "100%", 6554: "10%", ShareAll / 2: "50%", 66: "0.1%"} {
		if got := ShareText(share); got != want {
			t.Errorf("ShareText(%d) = %s, want %s", share, got, want)
		}
	}
}
