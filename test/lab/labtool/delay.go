//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"keyway/test/lab/labtool/config"
)

// A slow line is two TUN devices, one in each host, and this process between
// them: a packet that goes into one comes out of the other a fixed time later.
// So both ends run their kernel's real TCP over a real round trip: handshake,
// slow start, windows. Packets pass with their offload header and as large as
// the kernel makes them, so that the line costs time but no bandwidth.

const (
	maxPacket = 10 + 64<<10 // offload header and packet
	maxQueued = 1 << 16     // packets on the line; a full line drops, as lines do
)

func runDelay(args []string) error {
	var c config.Delay
	if len(args) != 1 {
		return errors.New("delay wants a configuration")
	}
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		return err
	}
	var ends [2]*os.File
	for i, pid := range c.PIDs {
		f, err := openIn(pid, c.Device)
		if err != nil {
			return fmt.Errorf("line end in the host of process %d: %w", pid, err)
		}
		ends[i] = f
	}
	// Both end with the process.
	go carry(ends[1], ends[0], c.OneWay)
	go carry(ends[0], ends[1], c.OneWay)
	fmt.Println("ready")
	untilEOF()
	return nil
}

// openIn makes the device in the network namespace of pid. The thread that went
// there is not used again.
func openIn(pid int, device string) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		f, err := openTUN(device)
		done <- result{f, err}
	}()
	r := <-done
	return r.f, r.err
}

func openTUN(device string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	ifr, err := unix.NewIfreq(device)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true) // so that the runtime waits for it without a thread
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), device), nil
}

type packet struct {
	due  time.Time
	data []byte
}

// carry moves packets from src to dst, each oneWay after it came.
func carry(dst, src *os.File, oneWay time.Duration) {
	line := make(chan packet, maxQueued)
	go deliver(dst, line)
	buf := make([]byte, maxPacket)
	for {
		n, err := src.Read(buf)
		if err != nil {
			close(line)
			return
		}
		select {
		case line <- packet{time.Now().Add(oneWay), append([]byte(nil), buf[:n]...)}:
		default:
		}
	}
}

func deliver(dst *os.File, line <-chan packet) {
	for p := range line {
		sleepUntil(p.due)
		_, _ = dst.Write(p.data) // a device that is down refuses: the packet is lost
	}
}

// sleepUntil waits with the precision of the kernel's own clock: the runtime's
// timers are late by up to a millisecond when the process is otherwise idle.
func sleepUntil(t time.Time) {
	if d := time.Until(t); d > 0 {
		ts := unix.NsecToTimespec(int64(d))
		_, _, _ = unix.Syscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
}
