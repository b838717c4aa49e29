package ocsf

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"example.com/bailiff/internal/event"
)

// initialPidNS is the inode of the initial pid namespace; it is fixed in the
// kernel (PROC_PID_INIT_INO).
const initialPidNS = 0xEFFFFFFC

// tick is how long USER_HZ takes, in nanoseconds.
const tick = 10_000_000

// CommonProcessID is the name of a process that other agents on the same
// machine give it too (OCSF's Common Process ID): a UUID of version 8 made of
// boot id, pid namespace, start time in ticks and the pid in that namespace. It
// names a process, not the image that it runs. "" if boot is no UUID.
func CommonProcessID(boot string, pidNS uint64, ticks uint64, pid int64) string {
	id, err := hex.DecodeString(strings.ReplaceAll(boot, "-", ""))
	if err != nil || len(id) != 16 {
		return ""
	}
	b := binary.LittleEndian.AppendUint64(id, pidNS)
	b = binary.LittleEndian.AppendUint64(b, ticks)
	b = binary.LittleEndian.AppendUint64(b, uint64(pid))
	sum := sha256.Sum256(b)
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	s := hex.EncodeToString(u)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// cpid is the name of an event's process. Events have the pid of the initial
// namespace only, so processes of others have none.
func cpid(boot string, p *event.Process) string {
	if p.PidNS != initialPidNS || p.Start == 0 || p.PID <= 0 {
		return ""
	}
	return CommonProcessID(boot, uint64(p.PidNS), p.Start/tick, int64(p.PID))
}
