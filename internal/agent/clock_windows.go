package agent

import (
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

var unbiasedTime = windows.NewLazySystemDLL("kernel32.dll").NewProc("QueryUnbiasedInterruptTime")

// asleep returns the time that the machine has slept since its start: one of the two clocks
// does not count it.
func asleep() time.Duration {
	var awake uint64 // in units of 100 ns
	if ok, _, _ := unbiasedTime.Call(uintptr(unsafe.Pointer(&awake))); ok == 0 {
		return 0
	}
	return windows.DurationSinceBoot() - time.Duration(awake)*100
}
