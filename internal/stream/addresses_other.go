//go:build !linux

package stream

import "context"

// watchAddresses calls look whenever the addresses may be others. macOS and
// Windows would tell, but only through interfaces that need cgo or a DLL, and
// reading the list costs less than a millisecond.
func watchAddresses(ctx context.Context, look func()) { pollAddresses(ctx, look) }
