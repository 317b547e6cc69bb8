//go:build !linux

package kernel

import (
	"bufio"
	"net"
	"time"
)

type alarm struct{}

func newAlarm() alarm { return alarm{} }

func (alarm) close() {}

func (alarm) sleep(d time.Duration) { time.Sleep(d) }

func quiet(conn net.Conn, _ *bufio.Reader) net.Conn { return conn }
