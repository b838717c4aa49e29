// Package harness drives the real bailiff binary from outside, as an operator
// does: it starts it, reads its event stream, switches its mode and stops it.
// It also makes the cgroup that enforcement is limited to and the small
// programs whose acts are judged. The end-to-end tests, the demo and the
// measurements are built on it.
package harness
