package compat

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// requireCUDA is the requirement of images of CUDA 12.6.
const requireCUDA = "NVIDIA_REQUIRE_CUDA=cuda>=12.6 brand=unknown,driver>=470,driver<471 brand=tesla,driver>=535,driver<536 brand=nvidia,driver>=535,driver<536 brand=tesla,driver>=550,driver<551 brand=nvidia,driver>=550,driver<551"

// good returns a workspace that runs: two A100 with a driver newer than the image.
func good() Asked {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return Asked{
		Spec: keyway.Spec{
			Image:     "pytorch/pytorch:2.8.0-cuda12.6-cudnn9-devel",
			Resources: keyway.Resources{GPUs: keyway.GPUs{Count: 1}},
			Files:     keyway.Files{Mounts: []keyway.Mount{{Source: "/data", Target: "/mnt/data", ReadOnly: true}, {Kind: keyway.MountTmpfs, Target: "/scratch"}}},
			Process:   keyway.Process{Caller: true},
			Origin:    keyway.Origin{Template: "pytorch"},
		},
		Place: "gpu1",
		Facts: keyway.Facts{
			Arch: "amd64", Time: now, Memory: 64 << 30, UID: 1000,
			Driver: keyway.DriverFacts{Module: "560.35.05", Library: "560.35.05", CUDA: "12.6",
				GPUs: []keyway.GPUFacts{{Model: "NVIDIA A100-SXM4-80GB", Brand: "NVIDIA", Compute: "8.0"}}},
			Engine: keyway.EngineFacts{Name: "docker", Images: true, Runtime: true, DevChar: true, Free: 100 << 30},
			Mounts: []keyway.MountFacts{{Source: "/data", Exists: true, Readable: true}},
		},
		Image: keyway.ImageFacts{Arch: []string{"amd64"}, Env: []string{"CUDA_VERSION=12.6.3", requireCUDA}, Size: 8 << 30},
		GPUs:  reported(2),
		Now:   now,
	}
}

// reported returns a place's report of that many GPUs, all of them free.
func reported(n int) *keyway.GPUReport {
	r := &keyway.GPUReport{Driver: "560.35.05"}
	for i := range n {
		r.GPUs = append(r.GPUs, keyway.GPU{Index: strconv.Itoa(i), UUID: "GPU-" + strconv.Itoa(i), Processes: []keyway.GPUProcess{{PID: 1}}})
	}
	return r
}

// waiting puts others into the queue for GPUs.
func waiting(gpus ...string) func(*Asked) {
	return func(a *Asked) {
		for _, g := range gpus {
			a.GPUs.Queue = append(a.GPUs.Queue, keyway.GPUWaiter{Owner: "grace", GPUs: g})
		}
	}
}

// driverIs changes the place's driver, which runs that CUDA.
func driverIs(module, cuda, brand, compute string) func(*Asked) {
	return func(a *Asked) {
		a.Facts.Driver = keyway.DriverFacts{Module: module, Library: module, CUDA: cuda, GPUs: []keyway.GPUFacts{{Model: "GPU", Brand: brand, Compute: compute}}}
	}
}

func noRequire(a *Asked) { a.Image.Env = []string{"CUDA_VERSION=12.6.3"} }

// TestPlantedFaults checks the finding for each fault that a check detects.
func TestPlantedFaults(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(*Asked)
		fatal bool
		text  string
		fix   string
	}{
		"the template's platform": {func(a *Asked) { a.Arch = "arm64" }, true, "the template's platform is linux/arm64, and gpu1 is linux/amd64", "leave platform out"},
		"driver too old":          {func(a *Asked) { driverIs("470.82.01", "11.4", "GeForce", "8.6")(a); noRequire(a) }, true, "needs CUDA 12.6, which the driver 470.82.01", "newer-driver 525 11 pytorch-cu118"},
		"driver of minor version": {func(a *Asked) { driverIs("535.104.05", "12.2", "NVIDIA", "8.0")(a); noRequire(a) }, false, "(PTX)", "560.28.03, or take an image of CUDA 12.2"},
		"driver for CUDA 13": {func(a *Asked) {
			driverIs("560.28.03", "12.6", "GeForce", "8.9")(a)
			a.Image.Env = []string{"CUDA_VERSION=13.0.1"}
		}, true, "needs CUDA 13.0", "580 or later"},
		"tag alone tells CUDA": {func(a *Asked) { driverIs("450.80.02", "11.0", "GeForce", "7.5")(a); a.Image.Env = nil }, true, "needs CUDA 12.6", "pytorch-cu118"},
		"reboot pending": {func(a *Asked) {
			a.Facts.Driver.Library, a.GPUs, a.NoGPUs = "565.57.01", nil, keyway.Errorf(keyway.NoGPU, "mismatch")
		}, true, "its library is 565.57.01", "restart"},
		"NVIDIA_REQUIRE, GeForce": {func(a *Asked) {
			driverIs("550.54.14", "12.4", "GeForce", "8.9")(a)
			a.Spec.Image, a.Image.Env = "my/image", []string{requireCUDA}
		}, true, "refuses to start", "NVIDIA_DISABLE_REQUIRE=1"},
		"GPU newer than the build": {driverIs("580.65.06", "13.0", "NVIDIA", "10.0"), true, "no code for", "CUDA 12.8 or later"},
		"GPU older than the build": {func(a *Asked) {
			driverIs("580.65.06", "13.0", "Tesla", "7.0")(a)
			a.Spec.Image, a.Image.Env = "pytorch/pytorch:2.9.1-cuda13.0-cudnn9-devel", nil
		}, true, "no code for", "CUDA 12.6"},
		"NVIDIA_REQUIRE of the template": {func(a *Asked) {
			a.Image.Env, a.Spec.Env = nil, map[string]string{"NVIDIA_REQUIRE_CUDA": "cuda>=99.0"}
		}, true, "refuses to start", "NVIDIA_DISABLE_REQUIRE=1"},
		"more GPUs than there are": {func(a *Asked) { a.Spec.GPUs.Count = 3 }, true, "gpu1 has 2 GPUs that can be used, not 3", "fewer-gpus 2"},
		"a GPU that is not there":  {func(a *Asked) { a.Spec.GPUs = keyway.GPUs{IDs: []string{"1", "7"}} }, true, "no GPU 7", "see-gpus"},
		"a GPU that is lost":       {func(a *Asked) { a.Spec.GPUs, a.GPUs.GPUs[1].UUID = keyway.GPUs{IDs: []string{"1"}}, "" }, true, "no GPU 1", "see-gpus"},
		"all, and one is lost":     {func(a *Asked) { a.Spec.GPUs, a.GPUs.GPUs[1].UUID = keyway.GPUs{All: true}, "" }, true, "cannot reach every GPU", "fewer-gpus 1"},
		"no GPU, plain processes": {func(a *Asked) {
			a.Facts.Engine, a.Facts.Driver, a.GPUs = keyway.EngineFacts{Name: "host"}, keyway.DriverFacts{}, &keyway.GPUReport{}
		}, true, "no NVIDIA GPU", "without-gpus"},
		"a driver, and no GPU": {func(a *Asked) { a.GPUs.GPUs = nil }, true, "no NVIDIA GPU", "without-gpus"},
		"nvidia-smi fails": {func(a *Asked) {
			a.GPUs, a.NoGPUs = nil, keyway.Errorf(keyway.NoGPU, "nvidia-smi has not answered").Hint("dmesg")
		}, true, "has not answered", "dmesg"},
		"GPUs that a workspace has": {func(a *Asked) {
			a.Spec.GPUs.Count, a.GPUs.GPUs[1].Holder = 2, &keyway.GPUHolder{Owner: "grace", Workspace: "first"}
		}, false, "gpu1 says: GPU 1 is held by the workspace first of grace", "wait-for-gpus 2"},
		"a GPU that somebody computes on": {func(a *Asked) {
			a.Spec.GPUs, a.GPUs.GPUs[0].Processes = keyway.GPUs{IDs: []string{"GPU-0"}}, []keyway.GPUProcess{{PID: 7, Owner: "grace", Compute: true}}
		}, false, "GPU 0 runs the process 7 of grace", "wait-for-gpus GPU-0"},
		"a GPU that programs without a name use": {func(a *Asked) {
			a.Spec.GPUs.Count, a.GPUs.GPUs[0].Processes = 2, []keyway.GPUProcess{{Memory: 3 << 30, Compute: true}}
		}, false, "GPU 0 has 3072 MiB in use by programs that the driver does not name", "wait-for-gpus 2"},
		"others who wait for any":  {waiting("2"), false, "others came first: 1 in the queue", "wait-for-gpus 1"},
		"others who wait for each": {waiting("GPU-0", "1"), false, "others came first: 2 in the queue", "wait-for-gpus 1"},
		"no runtime":               {func(a *Asked) { a.Facts.Engine.Runtime = false }, true, "neither NVIDIA's runtime nor a CDI", "nvidia-container-toolkit"},
		"podman without CDI":       {func(a *Asked) { a.Facts.Engine.Runtime, a.Facts.Engine.Name = false, "podman" }, true, "Podman at gpu1 has no GPUs", "nvidia-ctk cdi generate"},
		"daemon-reload":            {func(a *Asked) { a.Facts.Engine.Systemd, a.Facts.Engine.DevChar = true, false }, false, "daemon-reload", "create-dev-char-symlinks"},
		"architecture":             {func(a *Asked) { a.Facts.Arch = "arm64" }, true, "built for amd64, and gpu1 is arm64", "linux/arm64"},
		"engine down, with advice": {func(a *Asked) {
			a.Facts.Engine.Why = keyway.Errorf(keyway.EngineDown, "Docker does not run here").Advise(keyway.StartEngine, "x")
		}, true, "does not run", ""},
		"engine down": {func(a *Asked) {
			a.Facts.Engine.Why = keyway.Errorf(keyway.EngineDown, "Docker does not run here").Hint("start it")
		}, true, "does not run", "start it"},
		"what the engine refuses": {func(a *Asked) {
			a.Facts.Refused = keyway.Errorf(keyway.Usage, "the host engine cannot limit a workspace").Hint("leave it out")
		}, true, "cannot limit", "leave it out"},
		"a mount that the engine misses, too": {func(a *Asked) {
			a.Facts.Mounts[0].Exists, a.Facts.Refused = false, keyway.Errorf(keyway.Usage, "no source")
		}, true, "no /data", "make it"},
		"more processors than there are": {func(a *Asked) { a.Spec.CPUs, a.Facts.Engine.CPUs = 8.5, 8 }, true, "8.5 processors are asked for, and gpu1 has 8", "cpus"},
		"no guest":                       {func(a *Asked) { a.Facts.NoGuest = keyway.Errorf(keyway.NoSpace, "the disk is full").Hint("df -h") }, true, "full", "df -h"},
		"shm too small":                  {func(a *Asked) { a.Spec.ShmSize = 64 << 20 }, false, "64mb of shared memory are too few", "more-shm 16gb"},
		"shm of the daemon":              {func(a *Asked) { a.Spec.Template = "" }, false, "64 MiB of shared memory", "more-shm"},
		"shm beyond the memory":          {func(a *Asked) { a.Spec.ShmSize = 128 << 30 }, false, "64gb of memory", "less-shm 32gb"},
		"ulimit of a template": {func(a *Asked) {
			a.Spec.Ulimits = []keyway.Ulimit{{Name: "memlock", Soft: -1, Hard: -1}}
			a.Facts.Engine.Rootless, a.Facts.HardLimits = true, map[string]int64{"memlock": 65536}
		}, false, "of 65536, which the workspace then has", "limits.conf"},
		"ulimit": {func(a *Asked) {
			a.Spec.Template, a.Spec.ShmSize = "", 16<<30
			a.Spec.Ulimits = []keyway.Ulimit{{Name: "memlock", Soft: -1, Hard: -1}}
			a.Facts.Engine.Rootless, a.Facts.HardLimits = true, map[string]int64{"memlock": 65536}
		}, true, "cannot raise memlock", "lower-ulimit memlock 65536"},
		"disk full":                 {func(a *Asked) { a.Facts.Engine.Free = 4 << 30 }, true, "4gb left", "system prune"},
		"disk nearly full":          {func(a *Asked) { a.Facts.Engine.Free = 12 << 30 }, false, "unpacked it may not fit", "system df"},
		"mount absent":              {func(a *Asked) { a.Facts.Mounts[0].Exists = false }, true, "no /data", "make it"},
		"mount closed":              {func(a *Asked) { a.Facts.Mounts[0].Readable = false }, true, "may not read /data", "ls -ld /data"},
		"mount not writable":        {func(a *Asked) { a.Spec.Mounts[0].ReadOnly = false }, false, "may not write to /data", "mount-read-only /data"},
		"clock behind":              {func(a *Asked) { a.Facts.Time = a.Now.Add(-time.Hour) }, false, "1h0m0s behind", "set-ntp"},
		"clock ahead":               {func(a *Asked) { a.Facts.Time = a.Now.Add(3 * time.Minute) }, false, "3m0s ahead of", "set-ntp"},
		"engine on another machine": {func(a *Asked) { a.Facts.Engine.RemoteDaemon = "the daemon runs in a virtual machine" }, false, "virtual machine", "mount what is there"},
	} {
		a := good()
		c.plant(&a)
		found := Check(a)
		if len(found) != 1 || found[0].Fatal != c.fatal || !strings.Contains(found[0].Text, c.text) || !strings.Contains(help(found[0]), c.fix) {
			t.Errorf("%s: found %+v", name, found)
		}
	}
}

// TestNoFalseAlarm checks workspaces that run although a simpler rule would refuse them.
func TestNoFalseAlarm(t *testing.T) {
	for name, change := range map[string]func(*Asked){
		"as it is":                        func(*Asked) {},
		"newer driver than the table":     driverIs("700.10", "14.0", "NVIDIA", "9.0"),
		"driver says more than the table": driverIs("555.99", "12.6", "NVIDIA", "8.0"),
		"GPUs by CDI alone":               func(a *Asked) { a.Facts.Engine.Runtime, a.Facts.Engine.CDI = false, true },
		"no GPU, no driver": func(a *Asked) {
			a.Spec.GPUs = keyway.GPUs{}
			a.Facts.Driver = keyway.DriverFacts{}
			a.Facts.Engine.Runtime = false
		},
		"nothing is known": func(a *Asked) {
			a.Facts, a.Image = keyway.Facts{Engine: keyway.EngineFacts{Images: true, Runtime: true}}, keyway.ImageFacts{}
		},
		"forward compatibility": func(a *Asked) {
			driverIs("535.104.05", "12.2", "Tesla", "7.0")(a)
			a.Image.Env = []string{"CUDA_VERSION=13.0.1", "NVIDIA_REQUIRE_CUDA=cuda>=13.0 brand=tesla,driver>=535,driver<536"}
		},
		"REQUIRE is switched off": func(a *Asked) {
			driverIs("560.28.03", "12.5", "GeForce", "8.9")(a)
			a.Spec.Env = map[string]string{"NVIDIA_DISABLE_REQUIRE": "1"}
		},
		"REQUIRE about what nobody told": func(a *Asked) { driverIs("560.28.03", "", "", "8.9")(a) },
		"REQUIRE that nobody can read":   func(a *Asked) { a.Image.Env = []string{"NVIDIA_REQUIRE_X=what is this<=!"} },
		"an image that tells of no CUDA, and an old driver": func(a *Asked) {
			driverIs("390.25", "", "Tesla", "3.7")(a)
			a.Spec.Image, a.Image.Env = "team/mine:1", nil
		},
		"several builds": func(a *Asked) { a.Image.Arch = []string{"arm64", "amd64"} },
		"image is there, disk is full": func(a *Asked) {
			a.Facts.Engine.Image, a.Facts.Engine.Free = keyway.ImageFacts{Present: true, Arch: []string{"amd64"}}, 1
		},
		"plain processes": func(a *Asked) { a.Facts.Engine = keyway.EngineFacts{Name: "host"}; a.Facts.Arch = "arm64" },
		"root engine raises limits": func(a *Asked) {
			a.Spec.Ulimits = []keyway.Ulimit{{Name: "memlock", Soft: -1, Hard: -1}}
			a.Facts.HardLimits = map[string]int64{"memlock": 1}
		},
		"the image's user reads the mount": func(a *Asked) { a.Spec.Caller = false; a.Facts.Mounts[0].Readable = false },
		"gpu-farm-01 is not ARM":           func(a *Asked) { a.Place = "gpu-farm-01" },
		"enough GPUs are free": func(a *Asked) {
			a.GPUs.GPUs[0].Holder = &keyway.GPUHolder{Owner: "grace", Workspace: "first"}
		},
		"others wait for another GPU": waiting("GPU-0"),
		"others wait by index":        waiting("device=0", keyway.GPUs{IDs: []string{"0", "0"}}.String()),
		"others wait for the same by index": func(a *Asked) {
			a.Spec.GPUs = keyway.GPUs{IDs: []string{"GPU-0"}}
			waiting(keyway.GPUs{IDs: []string{"1"}}.String())(a)
		},
		"others wait by index, as told before": waiting("0", "0,0"),
		"others wait for what is absent":       waiting("3", "GPU-7", "?"),
		"enough GPUs are reached":              func(a *Asked) { a.GPUs.GPUs[0].UUID = "" },
		"a GPU that is named twice":            func(a *Asked) { a.Spec.GPUs = keyway.GPUs{IDs: []string{"0", "GPU-0"}} },
		"GPUs that the engine alone has":       func(a *Asked) { a.Facts.Driver, a.GPUs = keyway.DriverFacts{}, &keyway.GPUReport{} },
		"GPUs of another machine": func(a *Asked) {
			a.Spec.Mounts, a.Spec.GPUs.Count, a.Facts.Engine.RemoteDaemon = nil, 8, "it is elsewhere"
		},
		"as many processors as there are": func(a *Asked) { a.Spec.CPUs, a.Facts.Engine.CPUs = 8, 8 },
		"torch that the table lacks":      func(a *Asked) { a.Spec.Image = "pytorch/pytorch:3.0.0-cuda12.6-cudnn9-devel" },
	} {
		a := good()
		change(&a)
		if found := Check(a); len(found) > 0 {
			t.Errorf("%s: found %+v", name, found)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("560.28.03", "12.6", "NVIDIA", "8.0", requireCUDA, "pytorch/pytorch:2.8.0-cuda12.6-cudnn9-devel")
	f.Add("", "x.y", "", "1.2.3.4.5.6.7.8", "NVIDIA_REQUIRE_CUDA=a,b c>=", "i:cuda99.99")
	f.Fuzz(func(t *testing.T, module, cuda, brand, compute, env, image string) {
		a := good()
		driverIs(module, cuda, brand, compute)(&a)
		a.Image.Env, a.Spec.Image = []string{env}, image
		for _, found := range Check(a) {
			if found.Text == "" || help(found) == "" {
				t.Errorf("%+v", found)
			}
		}
	})
}

// help returns all advice of a finding, as text without a face.
func help(f Finding) string { return (&keyway.Error{Next: f.Fix, Advice: f.Advice}).Help() }
