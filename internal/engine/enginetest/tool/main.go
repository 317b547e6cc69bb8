//go:build linux

// Command tool is the only program in the images of the engine tests. It prints how a workspace
// looks from inside.
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: tool env NAME | cat FILE… | mark FILE | write FILE TEXT | plant DIR | uproot DIR | pipe FILE | chmod FILE | id | pwd | shm | ls DIR | hang | train FILE | exit | as UID … | hide DIR | rob HOME | peek HOME | impostor HOME KEY")
	}
	arg := strings.Join(args[1:min(2, len(args))], "")
	switch args[0] {
	case "env":
		return say(os.Getenv(arg))
	case "cat":
		return cat(args[1:])
	case "mark":
		if err := os.WriteFile(arg, []byte("marked"), 0o644); err != nil {
			return err
		}
		return hang()
	case "write":
		return os.WriteFile(arg, []byte(args[2]), 0o600)
	case "plant":
		return os.MkdirAll(arg, 0o755)
	case "uproot":
		return os.RemoveAll(arg)
	case "pipe":
		if err := os.MkdirAll(filepath.Dir(arg), 0o755); err != nil {
			return err
		}
		return syscall.Mkfifo(arg, 0o644)
	case "chmod":
		return os.Chmod(arg, 0o711)
	case "id":
		return say(fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()))
	case "pwd":
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		return say(dir)
	case "shm":
		var st syscall.Statfs_t
		if err := syscall.Statfs("/dev/shm", &st); err != nil {
			return err
		}
		return say(fmt.Sprint(int64(st.Blocks) * st.Bsize))
	case "ls":
		return list(arg)
	case "hang":
		return hang()
	case "train":
		return train(arg)
	case "load":
		return load()
	case "as":
		return as(arg, args[2:])
	case "hide":
		return hide(arg)
	case "rob":
		return rob(arg)
	case "peek":
		return peek(arg)
	case "impostor":
		return impostor(arg, strings.Join(args[2:], " "))
	case "exit":
		os.Exit(7)
	}
	return fmt.Errorf("tool: what is %s?", args[0])
}

func say(s string) error {
	_, err := fmt.Println(s)
	return err
}

// cat prints the files, one after the other.
func cat(paths []string) error {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(os.Stdout, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func list(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		fmt.Println(e.Name())
	}
	return err
}

// hang reports that it hangs, and then ignores every signal that it can.
func hang() error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if err := say("hanging"); err != nil {
		return err
	}
	for {
		// Not select{}: the runtime would call that a deadlock.
		time.Sleep(time.Hour)
	}
}
