//go:build linux

package holder

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/session"
)

// maxReport bounds the bytes of a holder's report about its start.
const maxReport = 64 << 10

// Start starts the holder of a claimed session and returns when its job runs. The holder is in a
// process session of its own and holds none of the caller's descriptors. So it survives the end of
// the caller, of its terminal and of its connection. (It stays a child until the caller ends, which
// does no harm.)
func Start(c session.Claim, o Options) (err error) {
	defer func() {
		if err != nil {
			c.Abandon()
		} else {
			c.Settle()
		}
	}()
	o.dir, o.name, o.by = c.Dir, c.Name, caller()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	complaints, err := os.OpenFile(filepath.Join(c.Dir, session.ErrName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return session.AsNoSpace(err, c.Dir)
	}
	defer complaints.Close()
	ready, readyW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	closeOnExec()
	cmd := exec.Command(program)
	cmd.Args = append([]string{keyway.GuestProgram, session.HolderWord}, o.args()...)
	cmd.Stderr = complaints
	cmd.ExtraFiles = []*os.File{c.Lock, readyW} // fdLock, fdReady
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	readyW.Close()
	if err != nil {
		return keyway.Errorf(keyway.Other, "no process could be started to hold the session: %w", err)
	}
	err = readReport(ready)
	if err != nil {
		_ = cmd.Wait() // it has failed and exits; only then can its directory be removed
		return err
	}
	return cmd.Process.Release()
}

func readReport(r io.Reader) error {
	var report startReport
	err := json.NewDecoder(io.LimitReader(r, maxReport)).Decode(&report)
	switch {
	case err != nil:
		return keyway.Errorf(keyway.Other, "the process that should hold the session ended before the job began")
	case report.Start != nil:
		return report.Start
	case report.Error != nil:
		return report.Error
	}
	return nil
}

// closeOnExec keeps descriptors that this process was given by its own caller from the holder and
// the job: a pipe that the job holds open would hang the process at the other end.
func closeOnExec() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// caller returns the name of the user that runs this command.
func caller() string {
	name := os.Getenv("LOGNAME")
	if name == "" {
		name = os.Getenv("USER")
	}
	if name == "" {
		name = fmt.Sprint("uid ", os.Getuid())
	}
	return name
}
