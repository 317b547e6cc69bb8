//go:build linux

package guest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"keyway/internal/keyway"
	"keyway/internal/session/holder"
	"keyway/internal/session/words"
)

// Main runs the command that argv names, by its first word or by the name the
// program was called with, and returns its exit status.
func Main(argv []string) int {
	if len(argv) == 0 {
		return fail(os.Stderr, keyway.Errorf(keyway.Usage, "called without a name"))
	}
	switch filepath.Base(argv[0]) {
	case keyway.SessionLink:
		return words.CLI(ownHome(), argv[1:])
	case keyway.CopyLink:
		if own := imageProgram(os.Getenv("PATH"), ownHome(), keyway.CopyLink); own != "" {
			err := syscall.Exec(own, argv, os.Environ())
			return fail(os.Stderr, fmt.Errorf("%s: %w", own, err))
		}
		return scpMain(argv[1:], os.Stdin, os.Stdout, os.Stderr)
	}
	if len(argv) < 2 {
		return command("", nil)
	}
	return command(argv[1], argv[2:])
}

// imageProgram returns the path of the image's program that name in Bin stands in for: the
// first on PATH outside Bin. It is empty if there is none.
func imageProgram(path string, home keyway.Home, name string) string {
	for _, dir := range filepath.SplitList(path) {
		if dir == home.Bin() || !filepath.IsAbs(dir) {
			continue
		}
		file := filepath.Join(dir, name)
		real, err := filepath.EvalSymlinks(file)
		if err != nil || filepath.Base(real) == keyway.GuestProgram { // another workspace's stand-in
			continue
		}
		if info, err := os.Stat(real); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return file
		}
	}
	return ""
}

// command runs one of the commands that engines, not people, start. Each takes --home DIR:
//
//	init [-- CMD…]  be the workspace's first process
//	serve           serve SSH on DIR/guest.sock
//	dial            relay standard input and output to DIR/guest.sock
//	info            print the guest's description of itself, once it is ready
//	halt            end the workspace, where no platform does
//	sweep           remove everything in DIR
//	gpus            print the GPUs that are in /dev
//	files           serve SFTP on standard input and output
//
// The entry point of a baked image (internal/bake) takes no --home:
//
//	sshd [CMD…]     be the first process, without a node
func command(name string, args []string) int {
	switch name {
	case "holder":
		return holder.Hold(args)
	case "init":
		return withHome(args, initMain)
	case "serve":
		return withHome(args, serveMain)
	case "dial":
		return withHome(args, dialMain)
	case "info":
		return withHome(args, infoMain)
	case "halt":
		return withHome(args, haltMain)
	case "sweep":
		return withHome(args, sweepMain)
	case "gpus":
		return withHome(args, gpusMain)
	case "files":
		return withHome(args, filesMain)
	case "sshd":
		return sshdMain(args)
	}
	return fail(os.Stderr, keyway.Errorf(keyway.Usage, "no command %q", name))
}

// withHome reads --home DIR and passes the arguments after it to run. (The flag package
// would add 12 KB to a program that is copied to every place.)
func withHome(args []string, run func(home keyway.Home, rest []string) int) int {
	if len(args) < 2 || args[0] != "--home" || !filepath.IsAbs(args[1]) {
		return fail(os.Stderr, keyway.Errorf(keyway.Usage, "--home DIR is needed"))
	}
	rest := args[2:]
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	return run(keyway.Home(filepath.Clean(args[1])), rest)
}

// ownHome returns the Home that this process belongs to: the one in its environment,
// otherwise the one that its program is in.
func ownHome() keyway.Home {
	if dir := os.Getenv(keyway.EnvHome); filepath.IsAbs(dir) {
		return keyway.Home(dir)
	}
	if exe, err := os.Executable(); err == nil {
		home := keyway.Home(filepath.Dir(filepath.Dir(exe)))
		if home.Program() == exe {
			return home
		}
	}
	return keyway.GuestHome
}

// ownProgram returns the path of this program: where it was started from; where the engine
// puts it, if there is no /proc to ask; or the kernel's name for it, if the file has been
// replaced since.
func ownProgram(home keyway.Home) string {
	if path, err := os.Executable(); err == nil && isExecutable(path) {
		return path
	}
	if isExecutable(home.Program()) {
		return home.Program()
	}
	return "/proc/self/exe"
}

// thisProgram returns a path that runs the program of this process: the kernel's name where there
// is a /proc, because no process can put another program behind that name.
func thisProgram(home keyway.Home) string {
	if self := "/proc/self/exe"; isExecutable(self) {
		return self
	}
	return ownProgram(home)
}

// fail prints err for people and returns its exit status.
func fail(w io.Writer, err error) int {
	e := keyway.AsError(err)
	fmt.Fprintf(w, "%s: %s\n", keyway.GuestProgram, e.Message)
	if e.Next != "" {
		fmt.Fprintf(w, "  %s\n", e.Next)
	}
	return keyway.ExitCode(e)
}
