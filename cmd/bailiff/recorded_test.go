package main

import (
	"bytes"
	"reflect"
	"strconv"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/recorded"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/policy"
	"example.com/bailiff/rules"
)

// TestDocumentOutlastsRecording: what rules read of an act is the same after it
// has been on the wire, and in a line of JSON. Every field of the vocabulary is
// given a value of its own, so that a new one that is not sent fails here.
func TestDocumentOutlastsRecording(t *testing.T) {
	p, _, err := policy.LoadFS(t.Context(), rules.FS, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	for _, hook := range event.Judged {
		e := &event.Event{}
		n := 0
		fill(reflect.ValueOf(e).Elem(), &n)
		e.Hook, e.Agent, e.Open, e.File.Traits = hook, nil, []string{"read", "truncate"}, []string{"setuid"}
		e.File.Names = nil
		e.File.Path, e.Exec.Args = "/a\xff\\b", []string{"\x1b", "\xc3", `\`}
		switch hook {
		case event.HookFork:
			e.File, e.Exec = nil, nil
		case event.HookOpen:
			e.Fork, e.Exec = nil, nil
		}
		want, err := p.DocumentJSON(e)
		if err != nil {
			t.Fatal(err)
		}
		wire := server.Encode(e)
		line, err := jsonLine(encodeEvent(wire))
		if err != nil {
			t.Fatal(err)
		}
		r, err := recorded.ParseLine(line)
		if err != nil {
			t.Fatal(err)
		}
		for how, back := range map[string]*event.Event{"wire": server.Decode(wire), "JSON": r.Event} {
			got, err := p.DocumentJSON(back)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) || !reflect.DeepEqual(back.Decision, e.Decision) {
				t.Errorf("%s, %s:\n got %s\nwant %s", hook, how, got, want)
			}
		}
	}
}

// fill sets each field that is recorded to something that no other has.
func fill(v reflect.Value, n *int) {
	*n++
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(int64(*n), 4).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(v.Field(i), n)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"+strconv.Itoa(*n)), reflect.ValueOf("v"))
	case reflect.String:
		v.SetString("s" + strconv.Itoa(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8:
		v.SetUint(1)
	default:
		v.SetUint(uint64(*n))
	}
}
