package server

import (
	"encoding/binary"
	"maps"
	"slices"
)

// wire appends fields of protobuf messages, in proto3's way: what is zero is
// left out. It remembers which fields had to be escaped.
type wire struct {
	b       []byte
	escaped []string
}

// Wire types of protobuf.
const (
	wireVarint = 0
	wireBytes  = 2
)

func (w *wire) tag(field, kind int) {
	if field < 16 {
		w.b = append(w.b, byte(field<<3|kind))
		return
	}
	w.b = append(w.b, byte(field<<3|kind)|0x80, byte(field>>4))
}

// num appends an integer or an enumeration; a negative one as protobuf does,
// in 64 bits.
func (w *wire) num(field int, v uint64) {
	if v == 0 {
		return
	}
	w.tag(field, wireVarint)
	w.b = binary.AppendUvarint(w.b, v)
}

func (w *wire) flag(field int, v bool) {
	if v {
		w.num(field, 1)
	}
}

// element appends a string, an empty one too: of a repeated field.
func (w *wire) element(field int, s string) {
	w.tag(field, wireBytes)
	w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	w.b = append(w.b, s...)
}

// raw appends bytes and how many they are, behind a tag.
func (w *wire) raw(b []byte) {
	w.b = binary.AppendUvarint(w.b, uint64(len(b)))
	w.b = append(w.b, b...)
}

func (w *wire) str(field int, s string) {
	if s != "" {
		w.element(field, s)
	}
}

// msg appends a message that fill writes. One byte is left for its length,
// which is enough for most; else the message is moved.
func (w *wire) msg(field int, fill func()) {
	w.tag(field, wireBytes)
	at := len(w.b)
	w.b = append(w.b, 0)
	fill()
	n := len(w.b) - at - 1
	if n < 0x80 {
		w.b[at] = byte(n)
		return
	}
	var head [binary.MaxVarintLen64]byte
	k := binary.PutUvarint(head[:], uint64(n))
	w.b = append(w.b, head[1:k]...) // room; what is in it does not count
	copy(w.b[at+k:], w.b[at+1:at+1+n])
	copy(w.b[at:], head[:k])
}

// text appends text that may be any bytes; name is that of the field in
// Event.escaped.
func (w *wire) text(field int, name, s string) {
	if invalid(s) {
		s = escapeAlways(s)
		w.mark(name)
	}
	w.str(field, s)
}

func (w *wire) mark(name string) {
	if !slices.Contains(w.escaped, name) {
		w.escaped = append(w.escaped, name)
	}
}

// list escapes either all elements or none, so that one mark does for the field.
func (w *wire) list(field int, name string, in []string) {
	bad := slices.ContainsFunc(in, invalid)
	if bad {
		w.mark(name)
	}
	for _, s := range in {
		if bad {
			s = escapeAlways(s)
		}
		w.element(field, s)
	}
}

// dict appends a map, its keys in order.
func (w *wire) dict(field int, name string, in map[string]string) {
	if len(in) == 0 {
		return
	}
	bad := false
	for k, v := range in {
		bad = bad || invalid(k) || invalid(v)
	}
	if bad {
		w.mark(name)
	}
	for _, k := range slices.Sorted(maps.Keys(in)) {
		v := in[k]
		if bad {
			k, v = escapeAlways(k), escapeAlways(v)
		}
		w.msg(field, func() {
			w.str(1, k)
			w.str(2, v)
		})
	}
}
