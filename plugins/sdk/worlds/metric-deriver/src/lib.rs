//! What `wit-bindgen` makes of the world `metric-deriver`. A crate of its own, because the macros that it exports have the
//! same names for every world.

wit_bindgen::generate!({
    path: "../../../../wit",
    world: "metric-deriver",
    default_bindings_module: "vitals_plugin::worlds::metric_deriver",
    export_macro_name: "export_metric_deriver",
    pub_export_macro: true,
    with: {
        "vitals:plugin/types@0.2.0": vitals_world_common::vitals::plugin::types,
        "vitals:plugin/log@0.2.0": vitals_world_common::vitals::plugin::log,
    },
});
