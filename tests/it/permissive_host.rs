//! A host that gives a guest what `vitals` does not. What a hostile guest gets here shows that it would notice if `vitals`
//! gave it the same.

use std::path::Path;
use wasmtime::component::{Component, Func, Instance, Linker, ResourceTable, Val};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

struct Given {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Given {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

fn export(instance: &Instance, store: &mut Store<Given>, interface: &str, name: &str) -> Func {
    let outer = instance.get_export_index(&mut *store, None, interface).expect("the interface");
    let index = instance.get_export_index(&mut *store, Some(&outer), name).expect("the function");
    instance.get_func(&mut *store, index).expect("a function")
}

/// Shows one row to the detector in `path`, which gets all that `give` gives it. The window of what it finds; 0 if it
/// finds nothing.
pub fn detect(path: &Path, value: f64, give: impl FnOnce(&mut WasiCtxBuilder)) -> wasmtime::Result<u32> {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    let mut wasi = WasiCtx::builder();
    give(&mut wasi);
    let mut store = Store::new(&engine, Given { wasi: wasi.build(), table: ResourceTable::new() });
    let instance = linker.instantiate(&mut store, &Component::from_file(&engine, path)?)?;
    let mut answer = [Val::Bool(false)];
    let configure = export(&instance, &mut store, "vitals:plugin/lifecycle@0.2.0", "configure");
    let setup = [("config", Val::String("{}".to_owned())), ("seed", Val::U64(0))];
    let setup = setup.map(|(name, value)| (name.to_owned(), value)).to_vec();
    configure.call(&mut store, &[Val::Record(setup)], &mut answer)?;
    let detect = export(&instance, &mut store, "vitals:plugin/detecting@0.2.0", "detect");
    let columns = [Val::U32(0), Val::S64(0), Val::Float64(value)].map(|cell| Val::List(vec![cell]));
    detect.call(&mut store, &columns, &mut answer)?;
    let [Val::Record(fields)] = answer else { panic!("no record: {answer:?}") };
    let windows = fields.into_iter().find(|(name, _)| name == "windows").expect("a column of windows").1;
    let Val::List(windows) = windows else { panic!("no list: {windows:?}") };
    Ok(windows.first().map_or(0, |window| if let Val::U32(bits) = window { *bits } else { 0 }))
}
