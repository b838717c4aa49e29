package bpf

import (
	"encoding/binary"
	"math/bits"

	"example.com/bailiff/internal/event"
)

// GiveAtGate adds to an act at the gate what its caller is about to give the new
// image. The hook compares that with what the image got. It returns what is equal for
// equal texts.
func (k *Kernel) GiveAtGate(ev *event.Event, t event.Given) any {
	h, ok := ev.Handle.(*heldHandle)
	if !ok {
		return nil
	}
	g := k.active.Load()
	x := &event.Exec{Args: splitStrings(t.Args, false), ArgsTotal: uint32(len(t.Args))}
	d := <-k.gate.free
	d.environment(x, t.Env, g)
	k.gate.free <- d
	ev.Exec = x
	if t.Args != nil {
		h.given.parts |= keyArgs
	}
	if t.Env != nil {
		h.given.parts |= keyEnv
	}
	h.given.sum = sumGiven(k.config.Secret, t.Args, t.Env)
	h.given.origin = sumGiven(k.config.Secret, t.Origin, t.Env)
	return h.given
}

// sumGiven is sum_given in given.h: SipHash-1-3 over words, each text filled up with
// zeros and followed by how long it is.
func sumGiven(secret uint64, texts ...[]byte) uint64 {
	v := [4]uint64{secret ^ 0x736f6d6570736575, ^secret ^ 0x646f72616e646f6d, secret ^ 0x6c7967656e657261, ^secret ^ 0x7465646279746573}
	round := func() {
		v[0] += v[1]
		v[2] += v[3]
		v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
		v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
		v[0] = bits.RotateLeft64(v[0], 32)
		v[2] += v[1]
		v[0] += v[3]
		v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
		v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
		v[2] = bits.RotateLeft64(v[2], 32)
	}
	word := func(w uint64) {
		v[3] ^= w
		round()
		v[0] ^= w
	}
	for _, text := range texts {
		if text == nil {
			continue // not read
		}
		rest := text
		for ; len(rest) >= 8; rest = rest[8:] {
			word(binary.NativeEndian.Uint64(rest))
		}
		if len(rest) > 0 {
			var last [8]byte
			copy(last[:], rest)
			word(binary.NativeEndian.Uint64(last[:]))
		}
		word(uint64(len(text)))
	}
	v[2] ^= 0xff
	for range 3 {
		round()
	}
	return (v[0] ^ v[1] ^ v[2] ^ v[3]) | 1
}
