//go:build !linux

package kernel

import "time"

func rest(d time.Duration) { time.Sleep(d) }
