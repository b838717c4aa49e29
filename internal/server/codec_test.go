package server_test

import (
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

func roundTrip(t *testing.T, e *event.Event) *event.Event {
	t.Helper()
	return server.Decode(encode(t, e))
}

func encode(t *testing.T, e *event.Event) *bailiffv1.Event {
	t.Helper()
	p := server.Encode(e)
	if len(p.ProtoReflect().GetUnknown()) > 0 {
		t.Fatalf("fields that the protocol does not know: %v", p)
	}
	return p
}

func TestEventsSurviveTheWire(t *testing.T) {
	at := time.Unix(1, 2).UTC()
	for _, e := range []*event.Event{
		sample(1),
		{Seq: 2, Time: at, Hook: event.HookFork, Fork: &event.Fork{PID: 3, ExecID: 4, Flags: 5}},
		{Seq: 3, Time: at, Hook: event.HookExit, Exit: &event.Exit{Code: 3, Signal: 9, Core: true}},
		{Seq: 4, Time: at, Hook: event.HookOpen, File: &event.File{Path: "/x"}, Open: []string{"read", "write"}},
		{Seq: 5, Time: at, Agent: &event.Notice{Code: "c", Text: "t\xff", Fields: map[string]string{"k\xfe": "v"}}},
	} {
		if got := roundTrip(t, e); !reflect.DeepEqual(got, e) {
			t.Errorf("seq %d\n got %+v\nwant %+v", e.Seq, got, e)
		}
	}
}

// TestEveryFieldTravels fails when a field of the vocabulary is added and not
// sent: it sets each to something that is not zero. What is kept out of JSON
// is the agent's own.
func TestEveryFieldTravels(t *testing.T) {
	e := &event.Event{}
	fill(reflect.ValueOf(e).Elem())
	e.Agent = nil // a notice has no process
	if got := roundTrip(t, e); !reflect.DeepEqual(got, e) {
		t.Errorf("\n got %+v\nwant %+v", got, e)
	}
}

func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(3, 4).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2)) // a single name would be left out, being the path
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), reflect.ValueOf("v"))
	case reflect.String:
		v.SetString("s")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	default:
		v.SetUint(1)
	}
}

func FuzzEventText(f *testing.F) {
	for _, s := range []string{"", "plain", "\xff", `\`, `\x41`, "\xff\\x41\\\\", "é\x80é", "\\x\xff", "\n\x00\x1b[2J"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := &event.Event{Time: time.Unix(0, 0).UTC(), Process: event.Process{Comm: s}}
		p := encode(t, e)
		if !utf8.ValidString(p.GetProcess().GetComm()) {
			t.Fatalf("%q is not UTF-8", p.GetProcess().GetComm())
		}
		if got := server.Decode(p).Process.Comm; got != s {
			t.Fatalf("got %q, want %q", got, s)
		}
	})
}
