//! `as_of()`: the epoch that a statement reads.
//!
//! The epoch rides in the session options of the one statement, so that the kept plan, which
//! holds only the call, answers for whichever moment it is run on.

use std::any::Any;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::reading::Epoch;

/// The epoch of the statement that carries it.
#[derive(Clone, Debug)]
pub struct AsOf(pub Epoch);

impl ConfigExtension for AsOf {
    const PREFIX: &'static str = "as_of";
}

impl ExtensionOptions for AsOf {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, _key: &str, _value: &str) -> Result<()> {
        exec_err!("the moment of a statement is not an option")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct AsOfFunction(Signature);

impl AsOfFunction {
    /// The function, without arguments and the same within one statement.
    pub fn new() -> AsOfFunction {
        AsOfFunction(Signature::nullary(Volatility::Stable))
    }
}

impl ScalarUDFImpl for AsOfFunction {
    fn name(&self) -> &str {
        "as_of"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let as_of = arguments.config_options.extensions.get::<AsOf>();
        let epoch = as_of.map(|AsOf(epoch)| i64::try_from(*epoch).expect("epochs are counted, not chosen"));
        Ok(ColumnarValue::Scalar(ScalarValue::Int64(epoch)))
    }
}
