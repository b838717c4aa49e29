// Package e2e tries the real bailiff binary on real kernels. Its tests run
// natively, limited to a cgroup of their own, and again inside guests with
// Debian's 6.1 and 6.12 kernels, where every backend loads. Which backends a
// scenario runs on is asked of the machine, never assumed; what could not run is
// a named skip, which CI turns into a failure.
package e2e
