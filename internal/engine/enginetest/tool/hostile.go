//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// as changes to that uid, without the former groups, and runs another command. It needs CAP_SETUID.
func as(uid string, args []string) error {
	id, err := strconv.Atoi(uid)
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(id), syscall.Setuid(id)); err != nil {
		return err
	}
	return run(args)
}

// hide leaves files in dir that no other user can read or remove.
func hide(dir string) error {
	hidden := filepath.Join(dir, "hidden")
	inner := filepath.Join(hidden, "inner")
	return errors.Join(os.MkdirAll(inner, 0o700), os.WriteFile(filepath.Join(inner, "file"), []byte("mine"), 0o600),
		os.Symlink("/etc", filepath.Join(inner, "etc")), syscall.Mkfifo(filepath.Join(inner, "pipe"), 0o600),
		os.Chmod(inner, 0), os.Chmod(hidden, 0))
}

// rob acts as another user in the workspace, and prints everything that it could get.
func rob(home string) error {
	for _, name := range []string{
		"authorized_keys", "guest.json", "guest.sock", "agent.sock", "init.lock", "bin", "bin/keyway-guest", "bin/keyway",
		"data", "data/sessions", "data/sessions/.lock",
	} {
		replace(home, filepath.Join(home, name))
	}
	got("made a session", os.Mkdir(filepath.Join(home, "data/sessions/planted"), 0o777))
	_, err := os.ReadDir(filepath.Join(home, "data/sessions"))
	got("listed the sessions", err)
	for _, name := range []string{"guest.sock", "agent.sock"} {
		got("was answered at "+name, answered(filepath.Join(home, name)))
	}
	peek(home)
	return nil
}

// got prints a result, if there is one.
func got(what string, err error) {
	if err == nil {
		fmt.Println(what)
	}
}

// replace tries every way to replace the file at path.
func replace(home, path string) {
	mine := filepath.Join(home, "mine")
	_ = os.WriteFile(mine, []byte("mine"), 0o666)
	got("renamed a file over "+path, os.Rename(mine, path))
	_ = os.Symlink("/etc/passwd", mine+".link")
	got("renamed a link over "+path, os.Rename(mine+".link", path))
	got("moved away "+path, os.Rename(path, mine+".away"))
	got("removed "+path, os.Remove(path))
	got("changed the mode of "+path, os.Chmod(path, 0o777))
	got("took over "+path, os.Lchown(path, os.Getuid(), os.Getgid()))
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			f.Close()
		}
		got("opened for writing "+path, err)
	}
}

// answered reports whether a server at a socket sends anything.
func answered(path string) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte("SSH-2.0-robber\r\n")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// keyMagic begins a host key as it is handed over; in two parts, or this very
// program would hold one.
var keyMagic = []byte("keyway-host-key-" + "1 ")

// peek acts as a program, of any user, that looks for the guest's host key in the visible state of
// the guest's processes and in its Home, and prints the result.
func peek(home string) error {
	for _, pid := range guests() {
		dir := "/proc/" + pid
		for _, name := range []string{"mem", "environ", "maps"} {
			f, err := os.Open(filepath.Join(dir, name))
			if err == nil {
				_, err = f.Read(make([]byte, 1))
				if name == "mem" { // address 0 cannot be read; to open the file is enough
					err = nil
				}
				f.Close()
			}
			got("opened "+filepath.Join(dir, name), err)
		}
		for fd := range 16 {
			path := filepath.Join(dir, "fd", strconv.Itoa(fd))
			f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
			if err == nil {
				f.Close()
			}
			got("opened "+path, err)
		}
		n, _ := strconv.Atoi(pid)
		if err := syscall.PtraceAttach(n); err == nil {
			fmt.Println("traced " + pid)
			_, _ = syscall.Wait4(n, nil, 0, nil)
			_ = syscall.PtraceDetach(n)
		}
	}
	return filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, filepath.Join(home, "bin")+"/") {
			return nil //nolint:nilerr // what cannot be read is not got
		}
		data, err := os.ReadFile(path)
		if err == nil && (bytes.Contains(data, keyMagic) || bytes.Contains(data, []byte("PRIVATE KEY"))) {
			fmt.Println("a key in " + path)
		}
		return nil
	})
}

// guests returns the guest's processes: the first process and the server.
func guests() []string {
	var pids []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmd, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		words := strings.Split(string(cmd), "\x00")
		if len(words) > 1 && (words[1] == "init" || words[1] == "serve") && strings.HasSuffix(words[0], "keyway-guest") {
			pids = append(pids, filepath.Base(dir))
		}
	}
	if len(pids) == 0 {
		fmt.Println("no guest in sight")
	}
	return pids
}

// impostor acts as an image's program that poses as the guest. It says in all ways there are that
// its key is the host key, and never ends.
func impostor(home, key string) error {
	info := fmt.Sprintf(`{"hostKey":%q,"user":"root","uid":0,"home":"/root","version":"evil","pid":1}`, key)
	for i := 0; ; i++ {
		for _, name := range []string{"guest.json", "host_key", "host_key.pub"} {
			fresh := filepath.Join(home, "impostor")
			_ = os.WriteFile(fresh, []byte(info), 0o644)
			_ = os.Rename(fresh, filepath.Join(home, name))
		}
		if i == 100 { // the true one had time to serve
			if err := say("done"); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond)
	}
}
