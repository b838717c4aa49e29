package server_test

import (
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// hostileAgent says nothing that is UTF-8.
type hostileAgent struct{ agent }

func (*hostileAgent) Status() server.Status {
	var s server.Status
	spoil(reflect.ValueOf(&s).Elem())
	return s
}

func (*hostileAgent) Policy() server.Policy {
	var p server.Policy
	spoil(reflect.ValueOf(&p).Elem())
	return p
}

// spoil puts bytes that are no text into every string.
func spoil(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("bad\xff\x1b[2J\n\xc3")
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				spoil(v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		spoil(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		spoil(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		spoil(k)
		spoil(e)
		v.SetMapIndex(k, e)
	}
}

// TestEveryAnswerIsText: whatever the agent says can be sent, and each string
// of it is UTF-8, those that are added later too.
func TestEveryAnswerIsText(t *testing.T) {
	conn := serveAgent(t, &hostileAgent{})
	c := bailiffv1.NewAgentServiceClient(conn)
	st, err := c.Status(t.Context(), &bailiffv1.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Policy(t.Context(), &bailiffv1.PolicyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range []proto.Message{st, p} {
		eachString(m.ProtoReflect(), func(s string) {
			n++
			if !utf8.ValidString(s) {
				t.Errorf("%q is not UTF-8", s)
			}
		})
	}
	if n < 30 {
		t.Errorf("only %d strings were looked at", n)
	}
}

func eachString(m protoreflect.Message, f func(string)) {
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		one := func(d protoreflect.FieldDescriptor, v protoreflect.Value) {
			switch d.Kind() {
			case protoreflect.StringKind:
				f(v.String())
			case protoreflect.MessageKind:
				eachString(v.Message(), f)
			}
		}
		switch {
		case d.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				one(d.MapKey(), k.Value())
				one(d.MapValue(), v)
				return true
			})
		case d.IsList():
			for i := range v.List().Len() {
				one(d, v.List().Get(i))
			}
		default:
			one(d, v)
		}
		return true
	})
}
