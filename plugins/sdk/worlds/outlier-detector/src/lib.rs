//! What `wit-bindgen` makes of the world `outlier-detector`. A crate of its own, because the macros that it exports have the
//! same names for every world.

wit_bindgen::generate!({
    path: "../../../../wit",
    world: "outlier-detector",
    default_bindings_module: "vitals_plugin::worlds::outlier_detector",
    export_macro_name: "export_outlier_detector",
    pub_export_macro: true,
    with: {
        "vitals:plugin/types@0.2.0": vitals_world_common::vitals::plugin::types,
        "vitals:plugin/log@0.2.0": vitals_world_common::vitals::plugin::log,
    },
});
