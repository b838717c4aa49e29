package harness

import (
	"encoding/binary"
	"os"
)

// MarkerExit is the exit status of a marker program.
const MarkerExit = 42

// MarkerProgram returns a static x86-64 program without libc whose first
// system call creates the file marker, and whose second exits with MarkerExit.
// If the marker is not there, not even that first call was made.
func MarkerProgram(marker string) []byte {
	return program([]byte{
		0x48, 0x8d, 0x3d, 29, 0, 0, 0, // lea rdi, [rip+29]: the path behind the code
		0xb8, 2, 0, 0, 0, // mov eax, open
		0xbe, 0x41, 0, 0, 0, // mov esi, O_WRONLY|O_CREAT
		0xba, 0xa4, 0x01, 0, 0, // mov edx, 0644
		0x0f, 0x05, // syscall
		0xbf, MarkerExit, 0, 0, 0, // mov edi, MarkerExit
		0xb8, 60, 0, 0, 0, // mov eax, exit
		0x0f, 0x05, // syscall
	}, marker)
}

// TrapProgram returns a static x86-64 program whose first instruction ends it
// with SIGILL.
func TrapProgram() []byte { return program([]byte{0x0f, 0x0b}, "") }

// ExitProgram returns a static x86-64 program that does nothing but exit.
func ExitProgram() []byte {
	return program([]byte{
		0x31, 0xff, // xor edi, edi
		0xb8, 60, 0, 0, 0, // mov eax, exit
		0x0f, 0x05, // syscall
	}, "")
}

// SpawnProgram returns a static x86-64 program that forks n times, one child
// after another; each child becomes the program at path. It is as small as a
// program can be, so that its time is the kernel's.
func SpawnProgram(path string, n uint32) []byte {
	code := append([]byte{0xbb}, binary.LittleEndian.AppendUint32(nil, n)...) // mov ebx, n
	code = append(code,
		0xb8, 57, 0, 0, 0, // loop: mov eax, fork
		0x0f, 0x05, // syscall
		0x85, 0xc0, // test eax, eax
		0x74, 32, // jz child
		0xbf, 0xff, 0xff, 0xff, 0xff, // mov edi, -1
		0x31, 0xf6, // xor esi, esi
		0x31, 0xd2, // xor edx, edx
		0x45, 0x31, 0xd2, // xor r10d, r10d
		0xb8, 61, 0, 0, 0, // mov eax, wait4
		0x0f, 0x05, // syscall
		0xff, 0xcb, // dec ebx
		0x75, 0xde, // jnz loop
		0x31, 0xff, // xor edi, edi
		0xb8, 60, 0, 0, 0, // mov eax, exit
		0x0f, 0x05, // syscall
		0x48, 0x8d, 0x3d, 27, 0, 0, 0, // child: lea rdi, [rip+27]: the path behind the code
		0x6a, 0, // push 0
		0x57,             // push rdi
		0x48, 0x89, 0xe6, // mov rsi, rsp
		0x31, 0xd2, // xor edx, edx
		0xb8, 59, 0, 0, 0, // mov eax, execve
		0x0f, 0x05, // syscall
		0xbf, 1, 0, 0, 0, // mov edi, 1
		0xb8, 60, 0, 0, 0, // mov eax, exit
		0x0f, 0x05, // syscall
	)
	return program(code, path)
}

// program puts code, and the string behind it, into an ELF file with one segment.
func program(code []byte, text string) []byte {
	const base, headers = 0x400000, 64 + 56
	code = append(append(code[:len(code):len(code)], text...), 0)
	size := uint64(headers + len(code))

	le := binary.LittleEndian
	b := append([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, make([]byte, 9)...)
	b = le.AppendUint16(b, 2)                         // e_type: executable
	b = le.AppendUint16(b, 62)                        // e_machine: x86-64
	b = le.AppendUint32(b, 1)                         // e_version
	b = le.AppendUint64(b, base+headers)              // e_entry
	b = le.AppendUint64(b, 64)                        // e_phoff
	b = le.AppendUint64(b, 0)                         // e_shoff
	b = le.AppendUint32(b, 0)                         // e_flags
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} { // header sizes and counts
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // p_type: load
	b = le.AppendUint32(b, 5) // p_flags: read, execute
	for _, v := range []uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, v) // offset, vaddr, paddr, filesz, memsz, align
	}
	return append(b, code...)
}

// InterpretedProgram returns an x86-64 program without code of its own, which
// names another program as its ELF interpreter: that is mapped and started.
func InterpretedProgram(interpreter string) []byte {
	const base, headers = 0x800000, 64 + 2*56 // not where program puts one
	le := binary.LittleEndian
	b := append([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, make([]byte, 9)...)
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 62)
	b = le.AppendUint32(b, 1)
	for _, v := range []uint64{base + headers, 64, 0} {
		b = le.AppendUint64(b, v) // entry, phoff, shoff
	}
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 2, 64, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	text := append([]byte(interpreter), 0)
	size := uint64(headers + len(text))
	segment := func(kind, flags uint32, values ...uint64) {
		b = le.AppendUint32(le.AppendUint32(b, kind), flags)
		for _, v := range values {
			b = le.AppendUint64(b, v) // offset, vaddr, paddr, filesz, memsz, align
		}
	}
	segment(3, 4, headers, base+headers, base+headers, uint64(len(text)), uint64(len(text)), 1) // interpreter
	segment(1, 5, 0, base, base, size, size, 0x1000)
	return append(b, text...)
}

// WriteProgram writes an executable file.
func WriteProgram(name string, b []byte) error { return os.WriteFile(name, b, 0o755) }

// CrowdProgram returns a static x86-64 program that forks n times; the children
// stay until they are killed. It ends with status 0, or with the errno of the
// first fork that failed.
func CrowdProgram(n uint32) []byte {
	code := append([]byte{0xbb}, binary.LittleEndian.AppendUint32(nil, n)...) // mov ebx, n
	code = append(code,
		0xb8, 57, 0, 0, 0, // loop: mov eax, fork
		0x0f, 0x05, // syscall
		0x85, 0xc0, // test eax, eax
		0x74, 21, // jz child
		0x78, 8, // js failed
		0xff, 0xcb, // dec ebx
		0x75, 0xef, // jnz loop
		0x31, 0xff, // xor edi, edi
		0xeb, 4, // jmp end
		0xf7, 0xd8, // failed: neg eax
		0x89, 0xc7, // mov edi, eax
		0xb8, 60, 0, 0, 0, // end: mov eax, exit
		0x0f, 0x05, // syscall
		0xb8, 34, 0, 0, 0, // child: mov eax, pause
		0x0f, 0x05, // syscall
		0xeb, 0xf7, // jmp child
	)
	return program(code, "")
}
