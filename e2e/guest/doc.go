// Package guest boots a stock Debian kernel under QEMU with an initramfs made
// on the spot, runs one program in it and hands back what the program printed.
// It serves the end-to-end tests: kernels and rights that the test machine does
// not have are found in a guest, and a guest may be broken without harm.
//
// Kernels come from Debian packages and are kept in a cache outside the source
// tree. There is no disk and no network in a guest.
package guest
