//! Binds libdpdk for the feature `dpdk`; does nothing without it.
//!
//! pkg-config finds the library (22.11 or newer), bindgen reads `src/dpdk/shim.h` through a short allowlist, and `cc`
//! compiles the wrappers of its inline functions: for the CPU that libdpdk itself was built for, or for this machine
//! with `TURNOUT_NATIVE=1`. Structs that change between DPDK releases are read in the shim, not here, so that 22.11
//! and 24.11 look the same from Rust.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "dpdk")]
    if let Err(message) = dpdk::build() {
        println!("cargo::error={message}");
    }
}

#[cfg(feature = "dpdk")]
mod dpdk {
    use std::env;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    const SHIM: &str = "src/dpdk/shim.h";
    /// `rte_log` is a library of its own since 23.11.
    const LIBRARIES: [&str; 5] = ["rte_eal", "rte_log", "rte_mempool", "rte_mbuf", "rte_ethdev"];
    const FUNCTIONS: &str = "turnout_.*|rte_(eal_(init|cleanup|hotplug_(add|remove))|strerror|thread_(un)?register\
        |log_set_global_level|pktmbuf_(pool_create|alloc|free)|mempool_(free|avail_count)|rdtsc|get_tsc_hz\
        |eth_(rx_burst|tx_burst|rx_queue_setup|tx_queue_setup|macaddr_get|promiscuous_(en|dis)able)\
        |eth_dev_(start|stop|close|get_port_by_name|[gs]et_mtu|socket_id|default_mac_addr_set))";

    pub(super) fn build() -> Result<(), String> {
        println!("cargo::rerun-if-changed={SHIM}");
        println!("cargo::rerun-if-env-changed=TURNOUT_NATIVE");
        println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");
        if env::var_os("LIBCLANG_PATH").is_none()
            && let Some(root) = newest_llvm("/usr/lib")
        {
            return again_with(&root);
        }

        // The linker needs but a few of the libraries; drivers are loaded by the EAL from libdpdk's own folder.
        let library = pkg_config::Config::new()
            .atleast_version("22.11")
            .cargo_metadata(false)
            .probe("libdpdk")
            .map_err(|_| {
                "libdpdk 22.11 or newer is missing: apt install libdpdk-dev pkg-config libclang-dev clang \
                 (or build with --no-default-features, without real ports)"
            })?;
        for path in &library.link_paths {
            println!("cargo::rustc-link-search=native={}", path.display());
        }
        for name in LIBRARIES.iter().filter(|&&name| library.libs.iter().any(|l| l == name)) {
            println!("cargo::rustc-link-lib=dylib={name}");
        }

        let cflags = cflags()?;
        let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
        let wrappers = out.join("wrappers.c");
        bindgen::Builder::default()
            .header(SHIM)
            .clang_args(&cflags)
            .allowlist_function(FUNCTIONS)
            .allowlist_var("TURNOUT_.*")
            .allowlist_type("turnout_.*")
            .blocklist_type("rte_(mbuf|mempool|eth_rxconf|eth_txconf).*")
            .derive_debug(false)
            .derive_default(true)
            .generate_comments(false)
            .layout_tests(false)
            .merge_extern_blocks(true)
            .wrap_static_fns(true)
            .wrap_static_fns_path(&wrappers)
            .generate()
            .map_err(|e| {
                format!(
                    "bindgen cannot read DPDK's headers: {e}: apt install libclang-dev clang, of one version"
                )
            })?
            .write_to_file(out.join("bindings.rs"))
            .map_err(|e| format!("{}: {e}", out.display()))?;

        let mut compiler = cc::Build::new();
        compiler.file(&wrappers).include(".").opt_level(3).warnings(false);
        let native = env::var("TURNOUT_NATIVE").is_ok_and(|v| v == "1");
        for flag in &cflags {
            if !(native && flag.starts_with("-march=")) {
                compiler.flag(flag);
            }
        }
        if native {
            compiler.flag("-march=native");
        }
        compiler
            .try_compile("turnout_dpdk")
            .map_err(|e| format!("the wrappers of DPDK's inline functions: {e}"))
    }

    /// All of libdpdk's flags, also those (`-include`, `-march`) that the pkg-config crate leaves out.
    fn cflags() -> Result<Vec<String>, String> {
        let tool = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
        let answer = Command::new(&tool)
            .args(["--cflags", "libdpdk"])
            .output()
            .map_err(|e| format!("{tool} does not run ({e}): apt install pkg-config"))?;
        Ok(String::from_utf8_lossy(&answer.stdout).split_whitespace().map(str::to_owned).collect())
    }

    /// The newest LLVM that has both the library and its own headers: a library that reads another version's headers
    /// fails in emmintrin.h.
    fn newest_llvm(under: &str) -> Option<PathBuf> {
        let whole = |root: &Path| {
            let library = root.join("lib").read_dir().ok()?.flatten().any(|e| {
                let name = e.file_name();
                name.to_string_lossy().starts_with("libclang") && name.to_string_lossy().contains(".so")
            });
            let mut headers = root.join("lib/clang").read_dir().ok()?.flatten();
            (library && headers.any(|e| e.path().join("include/stddef.h").exists())).then_some(())
        };
        std::fs::read_dir(under)
            .ok()?
            .flatten()
            .filter_map(|e| {
                let version: u32 = e.file_name().to_str()?.strip_prefix("llvm-")?.parse().ok()?;
                whole(&e.path()).map(|()| (version, e.path()))
            })
            .max()
            .map(|(_, root)| root)
    }

    /// Runs this script again with the library's path set (a process may not safely change its own environment).
    fn again_with(root: &Path) -> Result<(), String> {
        let me = env::current_exe().map_err(|e| e.to_string())?;
        let mut again = Command::new(me);
        again.env("LIBCLANG_PATH", root.join("lib"));
        let clang = root.join("bin/clang");
        if clang.exists() && env::var_os("CLANG_PATH").is_none() {
            again.env("CLANG_PATH", clang);
        }
        let status = again.status().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the build script failed: {status}")) }
    }
}
