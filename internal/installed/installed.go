// Package installed lists the software in a file system by reading its files. It starts no program
// of it, neither Python nor a package manager. The file system may come from any user, so all input
// is bounded, and only a valid name of a package counts as a package. Begin with Read.
package installed

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
)

// Bounds on the files that are read.
const (
	maxFile    = 32 << 20 // bytes of a file; dpkg's status of a large image has 2 MiB
	maxRoots   = 64       // directories of Python
	maxEntries = 50_000   // of one directory
	maxPath    = 4 << 10  // bytes of a variable that lists directories
)

// Where has the directories in which programs look for installed packages.
type Where struct {
	Path       string // PATH
	PythonPath string // PYTHONPATH
	Home       string // the directories that may be the user's home, as PATH has them
}

// DefaultPath is the PATH of an image that sets none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Read returns the packages that are installed in root. It omits what cannot be read; it returns an
// error only if root itself cannot be read.
func Read(root fs.FS, where Where) (keyway.Software, error) {
	if _, err := fs.Stat(root, "."); err != nil {
		return keyway.Software{}, err
	}
	r := reader{root: root}
	prefixes := where.prefixes()
	pythons := r.pythons(prefixes, where)
	for _, dir := range pythons {
		r.distributions(dir)
	}
	r.dpkg()
	r.apk()
	for _, prefix := range prefixes {
		r.conda(prefix)
	}
	s := keyway.Software{Python: r.sorted(r.python), System: r.sorted(r.system)}
	r.versions(&s, pythons, prefixes)
	return s, nil
}

// prefixes returns the parents of the bin directories on PATH, and of those in home directories,
// into which pip installs packages that it may not install elsewhere.
func (w Where) prefixes() []string {
	list := w.Path
	if list == "" || len(list) > maxPath {
		list = DefaultPath
	}
	var all []string
	add := func(dir string) {
		if dir = inRoot(dir); !slices.Contains(all, dir) && len(all) < maxRoots {
			all = append(all, dir)
		}
	}
	for dir := range strings.SplitSeq(list, ":") {
		if path.IsAbs(dir) && path.Base(path.Clean(dir)) == "bin" {
			add(path.Dir(path.Clean(dir)))
		}
	}
	for home := range strings.SplitSeq(w.Home, ":") {
		if path.IsAbs(home) {
			add(path.Join(home, ".local"))
		}
	}
	return all
}

// inRoot returns an absolute path in the form of fs.FS.
func inRoot(p string) string {
	if p = strings.TrimPrefix(path.Clean("/"+p), "/"); p == "" {
		return "."
	}
	return p
}

// reader gathers packages.
type reader struct {
	root           fs.FS
	python, system map[string]bool
}

func (r *reader) sorted(set map[string]bool) []string {
	var all []string
	for p := range set {
		all = append(all, p)
	}
	slices.Sort(all)
	return all
}

// packageForm is the form of a package's name and version; anything else is not a package.
var packageForm = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._+-]*==?[A-Za-z0-9][A-Za-z0-9._+:!~=-]*$`)

func add(set *map[string]bool, text string) {
	if *set == nil {
		*set = map[string]bool{}
	}
	if len(*set) < keyway.MaxPackages && len(text) <= keyway.MaxPackageText && packageForm.MatchString(text) {
		(*set)[text] = true
	}
}

// names returns the entries of a directory, unsorted, or none if it cannot be read.
func (r *reader) names(dir string) []string {
	f, err := r.root.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil
	}
	entries, _ := d.ReadDir(maxEntries)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// file returns the content of a regular file, or nil if it cannot be read or is too large.
func (r *reader) file(name string) []byte {
	data, err := ReadFile(r.root, name, maxFile)
	if err != nil {
		return nil
	}
	return data
}

var errNotPlain = errors.New("it is not a regular file, or too large")

// ReadFile reads a plain file of at most limit bytes. Nothing else is opened: a named
// pipe would never answer.
func ReadFile(root fs.FS, name string, limit int64) ([]byte, error) {
	st, err := fs.Stat(root, name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > limit {
		return nil, errNotPlain
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errNotPlain
	}
	return data, err
}

// pythons returns the directories that hold Python's packages.
func (r *reader) pythons(prefixes []string, where Where) []string {
	var all []string
	for _, prefix := range prefixes {
		for _, lib := range []string{"lib", "lib64"} {
			for _, name := range r.names(path.Join(prefix, lib)) {
				if strings.HasPrefix(name, "python3") {
					all = append(all, path.Join(prefix, lib, name, "site-packages"), path.Join(prefix, lib, name, "dist-packages"))
				}
			}
		}
	}
	if len(where.PythonPath) <= maxPath {
		for dir := range strings.SplitSeq(where.PythonPath, ":") {
			if path.IsAbs(dir) {
				all = append(all, inRoot(dir))
			}
		}
	}
	return all[:min(len(all), 4*maxRoots)]
}

var (
	separators = lazyregexp.New(`[-_.]+`)
	pyVersion  = lazyregexp.New(`-py\d+(\.\d+)*$`)
)

// distributions adds those whose description lies in a directory, as pip names them
// (PyPA specifications, "Recording installed projects" and "Name normalization").
func (r *reader) distributions(dir string) {
	for _, entry := range r.names(dir) {
		stem, ok := strings.CutSuffix(entry, ".dist-info")
		if !ok {
			if stem, ok = strings.CutSuffix(entry, ".egg-info"); !ok {
				continue
			}
			stem = pyVersion.ReplaceAllString(stem, "")
		}
		at := strings.LastIndexByte(stem, '-')
		if at <= 0 {
			continue
		}
		name := separators.ReplaceAllString(strings.ToLower(stem[:at]), "-")
		add(&r.python, name+"=="+stem[at+1:])
	}
}

// dpkg adds the packages of Debian's package manager, in the stanzas of its status.
func (r *reader) dpkg() {
	r.stanzas("var/lib/dpkg/status", func(f map[string]string) {
		if strings.HasSuffix(f["Status"], " installed") {
			add(&r.system, f["Package"]+"="+f["Version"])
		}
	})
	for _, name := range r.names("var/lib/dpkg/status.d") { // of images without dpkg
		r.stanzas(path.Join("var/lib/dpkg/status.d", name), func(f map[string]string) { add(&r.system, f["Package"]+"="+f["Version"]) })
	}
}

// apk adds the packages of Alpine's package manager.
func (r *reader) apk() {
	for _, file := range []string{"lib/apk/db/installed", "usr/lib/apk/db/installed"} {
		r.stanzas(file, func(f map[string]string) { add(&r.system, f["P"]+"="+f["V"]) })
	}
}

// stanzas calls each for every paragraph of NAME: VALUE lines.
func (r *reader) stanzas(file string, each func(map[string]string)) {
	fields := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(r.file(file)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			each(fields)
			clear(fields)
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		switch name {
		case "Package", "Version", "Status", "P", "V":
			if ok {
				fields[name] = strings.TrimSpace(value)
			}
		}
	}
	if len(fields) > 0 {
		each(fields)
	}
}

// conda adds the packages of an environment of conda's, whose descriptions are called
// NAME-VERSION-BUILD.json.
func (r *reader) conda(prefix string) {
	for _, entry := range r.names(path.Join(prefix, "conda-meta")) {
		stem, ok := strings.CutSuffix(entry, ".json")
		build := strings.LastIndexByte(stem, '-')
		if !ok || build <= 0 {
			continue
		}
		version := strings.LastIndexByte(stem[:build], '-')
		if version <= 0 {
			continue
		}
		add(&r.system, stem[:version]+"="+stem[version+1:build])
	}
}

// versions sets those that decide about a GPU's results. Python's own packages come
// first: PyTorch brings its CUDA with it.
func (r *reader) versions(s *keyway.Software, pythons, prefixes []string) {
	s.Torch = versionOf(s.Python, `torch==`)
	s.CUDA = cmp.Or(versionOf(s.Python, `nvidia-cuda-runtime(-cu\d+)?==`), r.toolkit(prefixes), r.torchCUDA(pythons), versionOf(s.System, `(cuda-cudart(-\d+-\d+)?|cudatoolkit)=`))
	s.CuDNN = cmp.Or(versionOf(s.Python, `nvidia-cudnn(-cu\d+)?==`), versionOf(s.System, `(libcudnn\d+(-cuda-\d+)?|cudnn)=`), r.header(prefixes, "cudnn_version.h", "CUDNN_MAJOR", "CUDNN_MINOR", "CUDNN_PATCHLEVEL"))
	s.NCCL = cmp.Or(versionOf(s.Python, `nvidia-nccl(-cu\d+)?==`), versionOf(s.System, `(libnccl2|nccl)=`), r.header(prefixes, "nccl.h", "NCCL_MAJOR", "NCCL_MINOR", "NCCL_PATCH"))
}

// versionOf returns the version of the first package whose name and equals signs match.
func versionOf(packages []string, form string) string {
	re := regexp.MustCompile(`^` + form + `(.+)$`)
	for _, p := range packages {
		if m := re.FindStringSubmatch(p); m != nil {
			return m[len(m)-1]
		}
	}
	return ""
}

// plainVersion is the form of a version in a file.
var plainVersion = lazyregexp.New(`^[0-9][0-9A-Za-z.+-]{0,63}$`)

// toolkit returns the version of CUDA's toolkit, from its own file.
func (r *reader) toolkit(prefixes []string) string {
	for _, dir := range append([]string{"usr/local/cuda"}, prefixes...) {
		var said struct {
			CUDA struct {
				Version string `json:"version"`
			} `json:"cuda"`
		}
		data, err := ReadFile(r.root, path.Join(dir, "version.json"), 1<<20)
		if err == nil && json.Unmarshal(data, &said) == nil && plainVersion.MatchString(said.CUDA.Version) {
			return said.CUDA.Version
		}
	}
	return ""
}

var torchCUDA = lazyregexp.New(`(?m)^cuda[^=\n]*=\s*['"]([0-9.]{1,16})['"]`)

// torchCUDA returns the version of CUDA with which PyTorch was built, from its version.py.
func (r *reader) torchCUDA(pythons []string) string {
	for _, dir := range pythons {
		data, err := ReadFile(r.root, path.Join(dir, "torch/version.py"), 64<<10)
		if err != nil {
			continue
		}
		if m := torchCUDA.FindSubmatch(data); m != nil {
			return string(m[1])
		}
	}
	return ""
}

// header returns the version in a C header, from the numbers that three macros define.
func (r *reader) header(prefixes []string, name string, macros ...string) string {
	dirs := []string{"usr/include", "usr/include/x86_64-linux-gnu", "usr/include/aarch64-linux-gnu", "usr/local/cuda/include"}
	for _, prefix := range prefixes {
		dirs = append(dirs, path.Join(prefix, "include"))
	}
	for _, dir := range dirs {
		data, err := ReadFile(r.root, path.Join(dir, name), 1<<20)
		if err != nil {
			continue
		}
		var parts []string
		for _, macro := range macros {
			if m := regexp.MustCompile(`(?m)^#define\s+` + macro + `\s+(\d{1,6})\b`).FindSubmatch(data); m != nil {
				parts = append(parts, string(m[1]))
			}
		}
		if len(parts) == len(macros) {
			return strings.Join(parts, ".")
		}
	}
	return ""
}
