//go:build linux

package lab

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// rootfs writes an image's files, taken from this machine, into an archive:
// programs come with the libraries they are linked with.
type rootfs struct {
	tar  *tar.Writer
	seen map[string]bool
	libs map[string]string // of this machine's linker: name to path
}

func newRootfs(w *tar.Writer) (*rootfs, error) {
	libs, err := linkerCache()
	return &rootfs{tar: w, seen: map[string]bool{}, libs: libs}, err
}

// linkerCache returns the libraries that the dynamic linker of this machine finds.
func linkerCache() (map[string]string, error) {
	out, err := exec.Command("/sbin/ldconfig", "-p").Output()
	if err != nil {
		return nil, fmt.Errorf("ldconfig -p: %w", err)
	}
	libs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		// \tlibz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1
		name, p, found := strings.Cut(strings.TrimSpace(line), " => ")
		name, kind, _ := strings.Cut(name, " ")
		if found && !strings.Contains(kind, "x32") && libs[name] == "" && !strings.Contains(p, "/lib32/") {
			libs[name] = p
		}
	}
	return libs, nil
}

// onMergedUsr returns p as it is named where /bin, /sbin and /lib are links
// into /usr.
func onMergedUsr(p string) string {
	for _, d := range []string{"/bin/", "/sbin/", "/lib/", "/lib64/"} {
		if strings.HasPrefix(p, d) {
			return "/usr" + p
		}
	}
	return p
}

// directories writes the directories above p.
func (r *rootfs) directories(p string) error {
	p = filepath.Dir(p)
	if p == "/" || r.seen[p] {
		return nil
	}
	if err := r.directories(p); err != nil {
		return err
	}
	return r.directory(p, 0o755, 0)
}

func (r *rootfs) directory(p string, perm int64, owner int) error {
	r.note(p)
	return r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: p[1:] + "/", Mode: perm, Uid: owner, Gid: owner})
}

func (r *rootfs) note(p string) {
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	r.seen[p] = true
}

func (r *rootfs) symlink(p, target string) error {
	if r.seen[p] {
		return nil
	}
	if err := r.directories(p); err != nil {
		return err
	}
	r.note(p)
	return r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: p[1:], Linkname: target, Mode: 0o777})
}

func (r *rootfs) text(p, content string, perm int64) error {
	if err := r.directories(p); err != nil {
		return err
	}
	r.note(p)
	if err := r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: p[1:], Size: int64(len(content)), Mode: perm}); err != nil {
		return err
	}
	_, err := io.WriteString(r.tar, content)
	return err
}

// copyAs copies the file from of this machine to p.
func (r *rootfs) copyAs(from, p string) error {
	if r.seen[p] {
		return nil
	}
	if err := r.directories(p); err != nil {
		return err
	}
	r.note(p)
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: p[1:], Size: st.Size(), Mode: int64(st.Mode().Perm())}); err != nil {
		return err
	}
	_, err = io.Copy(r.tar, f)
	return err
}

// file copies a file of this machine, with the target of a link and the libraries that it needs.
func (r *rootfs) file(p string) error {
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		return err
	}
	real, p = onMergedUsr(real), onMergedUsr(p)
	if r.seen[real] && r.seen[p] {
		return nil
	}
	if err := r.copyAs(real, real); err != nil {
		return err
	}
	if p != real {
		if err := r.symlink(p, real); err != nil {
			return err
		}
	}
	return r.linked(real)
}

// linked copies the libraries and the interpreter of a program or library.
func (r *rootfs) linked(p string) error {
	f, err := elf.Open(p)
	if err != nil {
		return nil // a script
	}
	defer f.Close()
	if interp := f.Section(".interp"); interp != nil {
		data, err := interp.Data()
		if err != nil {
			return err
		}
		if err := r.file(strings.TrimRight(string(data), "\x00")); err != nil {
			return err
		}
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, name := range names {
		if lib := r.libs[name]; lib != "" {
			if err := r.file(lib); err != nil {
				return err
			}
		}
	}
	return nil
}

// program copies a program from where this machine has it, if it has it.
func (r *rootfs) program(name string) error {
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/bin", "/sbin"} {
		if p := filepath.Join(dir, name); executable(p) {
			return r.file(p)
		}
	}
	return nil
}

// tree copies a directory, without what skip names.
func (r *rootfs) tree(dir string, skip ...string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains(skip, d.Name()) && d.IsDir():
			return filepath.SkipDir
		case d.IsDir(), d.Type()&fs.ModeSymlink != 0 && leadsToDirectory(p):
			return nil
		}
		err = r.file(p)
		if errors.Is(err, fs.ErrNotExist) { // a link to a missing file
			return nil
		}
		return err
	})
}

func leadsToDirectory(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.IsDir()
}

// all runs steps until one fails.
func all(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// basePrograms lists the programs of Base, besides those that the packages in basePackages install
// in /usr/bin.
var basePrograms = []string{
	"bash", "sh", "dash", "grep", "sed", "awk", "mawk", "find", "xargs", "tar", "gzip", "gunzip", "bzip2", "xz", "diff", "cmp",
	"rsync", "git", "git-upload-pack", "git-receive-pack", "git-shell", "ssh", "ssh-add", "ssh-keygen", "ssh-agent", "ps", "pgrep", "pkill", "kill", "free", "top",
	"setsid", "flock", "getent", "hostname", "nc", "python3", "which", "getopt", "script", "clear", "tput", "ip", "ldd", "file", "mount", "umount",
}

// linksInRoot are those of a merged /usr.
var linksInRoot = []string{"bin", "sbin", "lib", "lib64"}

// writeBase writes the image Base.
func writeBase(w *tar.Writer) error {
	r, err := newRootfs(w)
	if err != nil {
		return err
	}
	return all(r.skeleton, r.basePrograms, r.python, r.terminals, r.baseFiles)
}

func (r *rootfs) skeleton() error {
	for _, name := range linksInRoot {
		if err := r.directory("/usr/"+name, 0o755, 0); err != nil {
			return err
		}
		if err := r.symlink("/"+name, "usr/"+name); err != nil {
			return err
		}
	}
	for _, d := range []string{"/proc", "/sys", "/dev", "/mnt", "/run", "/var", "/etc", "/home", "/opt", "/srv"} {
		if err := r.directory(d, 0o755, 0); err != nil {
			return err
		}
	}
	return errors.Join(r.directory("/tmp", 0o1777, 0), r.directory("/var/tmp", 0o1777, 0),
		r.directory("/root", 0o700, 0), r.directory("/home/dev", 0o755, 1000))
}

func (r *rootfs) basePrograms() error {
	for _, name := range append(coreutils(), basePrograms...) {
		if err := r.program(name); err != nil {
			return err
		}
	}
	// git runs its parts through this name; all that the tests need is in one program.
	return r.symlink("/usr/lib/git-core/git", "/usr/bin/git")
}

// coreutils returns the programs of that package.
func coreutils() []string {
	list, err := os.ReadFile("/var/lib/dpkg/info/coreutils.list")
	if err != nil {
		return strings.Fields("cat chmod chown cp cut date dd df dirname du echo env expr false head id ln ls mkdir mktemp mv nohup od printenv printf pwd readlink realpath rm rmdir seq sha256sum sleep sort stat stty tail tee test timeout touch tr true tty uname uniq wc whoami yes basename mkfifo nproc")
	}
	var names []string
	for line := range strings.Lines(string(list)) {
		if p := strings.TrimSpace(line); strings.Contains(p, "bin/") {
			names = append(names, filepath.Base(p))
		}
	}
	return names
}

// python copies the standard library of the python3 that program found.
func (r *rootfs) python() error {
	real, err := filepath.EvalSymlinks("/usr/bin/python3")
	if err != nil {
		return err
	}
	lib := "/usr/lib/" + filepath.Base(real)
	if err := r.file(r.libs["libgcc_s.so.1"]); err != nil { // opened when a thread ends
		return err
	}
	return r.tree(lib, "test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "pydoc_data", "__pycache__", "dist-packages")
}

func (r *rootfs) terminals() error {
	for _, name := range []string{"xterm", "xterm-256color", "screen", "screen-256color", "tmux-256color", "vt100", "linux", "dumb"} {
		for _, dir := range []string{"/lib/terminfo/", "/usr/share/terminfo/"} {
			if p := dir + name[:1] + "/" + name; r.file(p) == nil {
				break
			}
		}
	}
	return nil
}

func (r *rootfs) baseFiles() error {
	for p, content := range map[string]string{
		"/etc/passwd":        "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\ndev:x:1000:1000::/home/dev:/bin/bash\n",
		"/etc/group":         "root:x:0:\nnogroup:x:65534:\ndev:x:1000:\n",
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"/etc/os-release":    "NAME=\"keyway lab\"\nID=lab\n",
		"/opt/tool/lib/note": "in LD_LIBRARY_PATH\n",
	} {
		if err := r.text(p, content, 0o644); err != nil {
			return err
		}
	}
	return errors.Join(
		r.text("/etc/shadow", "root:*:19000:0:99999:7:::\n", 0o600),
		r.text(ImagePath+"/greet", "#!/bin/sh\necho hello from the image\n", 0o755))
}

// writeBusybox writes the image Busybox.
func writeBusybox(w *tar.Writer) error {
	out, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		return fmt.Errorf("busybox: %w", err)
	}
	r := &rootfs{tar: w}
	if err := r.copyAs("/bin/busybox", "/bin/busybox"); err != nil {
		return err
	}
	for _, name := range strings.Fields(string(out)) {
		if name == "busybox" {
			continue
		}
		if err := r.symlink("/bin/"+name, "busybox"); err != nil {
			return err
		}
	}
	return r.directory("/tmp", 0o1777, 0)
}

// onBase returns an archive of additions to Base, whose links must not become directories.
func onBase(w *tar.Writer) (*rootfs, error) {
	r, err := newRootfs(w)
	if err != nil {
		return nil, err
	}
	for _, name := range linksInRoot {
		r.note("/" + name)
		r.note("/usr/" + name)
	}
	return r, nil
}

// writeShells writes the files of Shells that Base does not have.
func writeShells(w *tar.Writer) error {
	r, err := onBase(w)
	if err != nil {
		return err
	}
	passwd, err := "root:x:0:0:root:/root:/bin/bash\n", r.tree("/usr/share/fish", "man", "groff", "tools")
	for i, shell := range []string{"bash", "fish", "tcsh"} {
		home, id := "/home/"+shell, 1001+i
		passwd += fmt.Sprintf("%s:x:%d:%d::%s:/usr/bin/%s\n", shell, id, id, home, shell)
		err = errors.Join(err, r.program(shell), r.directory(home, 0o755, id))
		for _, file := range []string{".bashrc", ".tcshrc", ".config/fish/config.fish"} {
			err = errors.Join(err, r.text(home+"/"+file, "echo printed by a start file\n", 0o644))
		}
	}
	return errors.Join(err, r.text("/etc/passwd", passwd, 0o644))
}

// writeTorch writes the files of Torch that Base does not have.
func writeTorch(w *tar.Writer) error {
	r, err := onBase(w)
	if err != nil {
		return err
	}
	const packages = "/usr/lib/python3/dist-packages"
	for _, name := range []string{"torch", "numpy", "typing_extensions.py"} {
		err = errors.Join(err, r.tree(filepath.Join(packages, name), "test", "tests", "__pycache__"))
	}
	return err
}

// writeSSHD writes the files of SSHD that Base does not have.
func writeSSHD(w *tar.Writer) error {
	r, err := onBase(w)
	if err != nil {
		return err
	}
	return all(
		func() error { return r.file(sshdProgram) },
		func() error { return r.file(sftpServer()) },
		func() error { return r.text("/etc/ssh/sshd_config", imageSSHD, 0o644) },
		func() error { return r.directory("/run/sshd", 0o755, 0) },
	)
}

const imageSSHD = `HostKey /etc/ssh/keys/host_key
AuthorizedKeysFile /etc/ssh/keys/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 1000
Subsystem sftp /usr/lib/openssh/sftp-server
`
