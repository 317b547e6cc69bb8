//go:build linux

package main

import (
	"encoding/binary"
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
	maxQueued = 1 << 16     // packets on the line; a full line drops packets
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
	var trace *os.File
	if c.Trace != "" {
		f, err := os.OpenFile(c.Trace, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		trace = f
	}
	// Both end with the process.
	for from := range ends {
		go carry(ends[1-from], ends[from], c.OneWay, func(p []byte) {
			if n := tcpData(p); trace != nil && n > 0 {
				fmt.Fprintln(trace, from, n) // one write, to the end
			}
		})
	}
	fmt.Println("ready")
	untilEOF()
	return nil
}

// openIn makes the device in the network namespace of pid. The thread that entered it is not used
// again.
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

// tcpData returns the number of data bytes of a packet, with its offload header, if it is a TCP
// segment over IPv4.
func tcpData(p []byte) int {
	const offload, tcp = 10, 6
	p = p[min(offload, len(p)):]
	if len(p) < 40 || p[0]>>4 != 4 || p[9] != tcp {
		return 0
	}
	ip := int(p[0]&15) * 4
	if len(p) < ip+20 {
		return 0
	}
	return int(binary.BigEndian.Uint16(p[2:])) - ip - int(p[ip+12]>>4)*4
}

// carry moves packets from src to dst, each oneWay after it arrived, and passes each to see.
func carry(dst, src *os.File, oneWay time.Duration, see func([]byte)) {
	line := make(chan packet, maxQueued)
	go deliver(dst, line)
	buf := make([]byte, maxPacket)
	for {
		n, err := src.Read(buf)
		if err != nil {
			close(line)
			return
		}
		see(buf[:n])
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
