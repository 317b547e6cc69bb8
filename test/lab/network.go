//go:build linux

package lab

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"keyway/test/lab/labtool/config"
)

// connect lays a cable between two hosts and routes each to the other.
func (l *Lab) connect(a, b *Host) error {
	// Seen from this machine's process ids, in a's network.
	out, err := exec.Command("nsenter", "--net", "--target", strconv.Itoa(a.pid), "ip", "link", "add", b.Name, "type", "veth",
		"peer", "name", a.Name, "netns", strconv.Itoa(b.pid)).CombinedOutput()
	if err != nil {
		return l.errorf("cable between %s and %s: %w: %s", a.Name, b.Name, err, out)
	}
	return errors.Join(a.route(b, b.Name), b.route(a, a.Name))
}

// route routes packets for another host over a device, and brings the device up.
func (h *Host) route(to *Host, device string) error {
	if _, err := h.Output("ip", "link", "set", device, "up"); err != nil {
		return err
	}
	_, err := h.Output("ip", "route", "replace", to.Address+"/32", "dev", device, "src", h.Address)
	return err
}

// Cut stops everything between two hosts: silently for a, as when a cable is
// pulled beyond the next switch. Restore undoes it.
func (l *Lab) Cut(a, b *Host) error {
	_, err := b.Output("ip", "link", "set", a.Name, "down")
	return err
}

// Restore puts the cable back that Cut has pulled.
func (l *Lab) Restore(a, b *Host) error { return b.route(a, a.Name) }

// slowDevice is the name of a slow line at both of its ends.
const slowDevice = "slow"

// Delay puts a line between two hosts that takes oneWay in each direction, without a loss of
// bandwidth or packets. The returned function removes the line.
func (l *Lab) Delay(a, b *Host, oneWay time.Duration) (remove func() error, err error) {
	return l.DelayTraced(a, b, oneWay, "")
}

// DelayTraced is Delay, and appends a line to a file for each TCP segment with data: 0
// from a or 1 from b, and its bytes of data.
func (l *Lab) DelayTraced(a, b *Host, oneWay time.Duration, trace string) (remove func() error, err error) {
	device := slowDevice + "-" + b.Name
	c, err := json.Marshal(config.Delay{PIDs: [2]int{a.pid, b.pid}, Device: device, OneWay: oneWay, Trace: trace})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(l.tool(), "delay", string(c))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := startReady(cmd); err != nil {
		return nil, l.errorf("slow line between %s and %s: %w", a.Name, b.Name, err)
	}
	remove = func() error {
		err := errors.Join(a.route(b, b.Name), b.route(a, a.Name))
		return errors.Join(err, stdin.Close(), cmd.Wait())
	}
	if err := errors.Join(a.slowRoute(b, device), b.slowRoute(a, device)); err != nil {
		return nil, errors.Join(err, remove())
	}
	return remove, nil
}

func (h *Host) slowRoute(to *Host, device string) error {
	// A queue as long as the line, or a fast sender would lose packets at its start.
	if _, err := h.Output("ip", "link", "set", device, "txqueuelen", "20000", "up"); err != nil {
		return err
	}
	return h.route(to, device)
}

// Move replaces the address of a, as when a laptop moves to another network. Connections from the
// old address stay silent for ever; new connections work.
func (l *Lab) Move(a, b *Host, address string) error {
	old := a.Address
	if _, err := a.Output("ip", "address", "add", address+"/32", "dev", "lo"); err != nil {
		return err
	}
	a.Address = address
	if err := errors.Join(a.route(b, b.Name), b.route(a, a.Name)); err != nil {
		return err
	}
	_, err1 := a.Output("ip", "address", "del", old+"/32", "dev", "lo")
	_, err2 := b.Output("ip", "route", "del", old+"/32")
	return errors.Join(err1, err2)
}
