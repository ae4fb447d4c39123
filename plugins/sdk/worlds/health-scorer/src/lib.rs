//! What `wit-bindgen` makes of the world `health-scorer`. A crate of its own, because the macros that it exports have the
//! same names for every world.

wit_bindgen::generate!({
    path: "../../../../wit",
    world: "health-scorer",
    default_bindings_module: "vitals_plugin::worlds::health_scorer",
    export_macro_name: "export_health_scorer",
    pub_export_macro: true,
    with: {
        "vitals:plugin/types@0.2.0": vitals_world_common::vitals::plugin::types,
        "vitals:plugin/log@0.2.0": vitals_world_common::vitals::plugin::log,
    },
});
