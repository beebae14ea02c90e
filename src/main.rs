//! The `campanile` program: hands its arguments to [`campanile::cli`] and exits with the code it returns.

#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    campanile::cli::run()
}
