//go:build !linux

package stream

import "context"

// watchAddresses calls look at intervals. macOS and Windows could report changes, but only through
// interfaces that need cgo or a DLL, and reading the list takes less than a millisecond.
func watchAddresses(ctx context.Context, look func()) { pollAddresses(ctx, look) }
