package bpf

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
)

func TestVerifies(t *testing.T) {
	spec, err := loadKernel()
	if err != nil {
		t.Fatal(err)
	}
	for n, p := range spec.Programs {
		if p.Type == ebpf.LSM || p.AttachType == ebpf.AttachModifyReturn {
			delete(spec.Programs, n)
		}
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogSizeStart: 64 << 20}})
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		n := len(ve.Log)
		if n > 70 {
			ve.Log = ve.Log[n-70:]
		}
		for _, l := range ve.Log {
			t.Log(l)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
